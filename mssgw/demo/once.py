"""The main job from end to end, then the refusals: what `mssgw demo --once` does.

Dr Martin (alpha) sends a letter by SMTP submission; the gateways do the rest; Dr Durand (beta) is notified by IMAP IDLE and
reads it. Each step prints its evidence and its time; the first step that fails ends the run with StepFailed. Only
public interfaces are used: SMTP, IMAP, `mssgw trace`.
"""

from __future__ import annotations

import hashlib
import imaplib
import json
import re
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY
from email.utils import make_msgid
from pathlib import Path
from typing import Any

from mssgw.demo.letter import Letter, letter

PATIENCE = 20.0
TEXT = "Cher confrère,\n\nvous trouverez ci-joint la lettre de liaison de notre patiente.\n\nBien à vous,\nJ. Martin\n"


class StepFailed(Exception):
    """A step failed. The text names it and the reason."""


class Once:
    def __init__(self, directory: Path, description: dict[str, Any], say: Callable[[str], None]) -> None:
        self.directory, self.description, self.say = directory, description, say
        self.started = time.monotonic()

    def run(self) -> None:
        """Runs all steps. Raises StepFailed."""
        try:
            self.main_job()
            self.refusals()
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
            raise StepFailed(f"{type(error).__name__}: {error}") from error

    def step(self, name: str, evidence: str) -> None:
        self.say(f"  ✔ {time.monotonic() - self.started:6.2f} s  {name:<27} {evidence}")

    # -- persons --------------------------------------------------------------------------------------------------

    def operator(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.description["operators"] if one["name"] == name)
        return found

    def doctor(self, operator: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.operator(operator)["accounts"] if one.get("role") == "doctor")
        return found

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.directory / self.description["ca"]))

    # -- the main job ---------------------------------------------------------------------------------------------

    def main_job(self) -> None:
        sent, durand, place = letter(), self.doctor("beta"), self.operator("beta")["imaps"]
        reader = imaplib.IMAP4_SSL(place["host"], place["port"], ssl_context=self.tls(), timeout=PATIENCE)
        reader.login(durand["address"], durand["password"])
        before = int(reader.select("INBOX")[1][0] or b"0")
        reader.send(b"once IDLE\r\n")
        _line_with(reader, b"+ ")
        self.step("Dr Durand's client waits", f"IMAP IDLE at beta, {before} message(s) in INBOX")
        message, trace = self.submit(sent)
        accepted = time.monotonic()
        told = _line_with(reader, b"EXISTS")
        self.step("Dr Durand is told", f"{told.decode().strip()} ({time.monotonic() - accepted:.2f} s after the 250)")
        reader.send(b"DONE\r\n")
        _line_with(reader, b"once OK")
        self.trail("alpha", trace, "sent")
        self.trail("beta", str(message["Message-ID"]), "delivered")
        self.read(reader, before + 1, message, sent)
        reader.logout()

    def submit(self, sent: Letter) -> tuple[EmailMessage, str]:
        martin, durand, place = self.doctor("alpha"), self.doctor("beta"), self.operator("alpha")["submission"]
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = f"Dr Jeanne Martin <{martin['address']}>"
        message["To"] = f"Dr Paul Durand <{durand['address']}>"
        message["Subject"] = sent.subject
        message["Message-ID"] = make_msgid(domain=martin["address"].partition("@")[2])
        message.set_content(TEXT)
        for name, subtype, content in sent.attachments:
            message.add_attachment(content, maintype="application", subtype=subtype, filename=name)
        with smtplib.SMTP(place["host"], place["port"], timeout=PATIENCE) as client:
            client.starttls(context=self.tls())
            client.login(martin["address"], martin["password"])
            assert isinstance(client.sock, ssl.SSLSocket)
            self.step("Dr Martin logs in", f"{client.sock.version()}, AUTH as {martin['address']}")
            client.mail(martin["address"])
            client.rcpt(durand["address"])
            code, text = client.data(message.as_bytes())
        answer = text.decode("ascii", "replace")
        if code != 250:
            raise StepFailed(f"submission answered {code} {answer}")
        self.step("Her letter is accepted", f"250 {answer} ({', '.join(name for name, *_ in sent.attachments)})")
        return message, answer.rsplit(" ", 1)[-1]

    def trail(self, operator: str, key: str, last: str) -> None:
        """The rows of `mssgw trace` about this message at an operator, asked until `last` is among them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            entries = self.trace(operator, key)
            if any(last in (entry["what"], entry["outcome"]) for entry in entries):
                break
            if time.monotonic() > deadline:
                raise StepFailed(f"mssgw trace at {operator} never said {last!r} of {key}")
        for entry in entries:
            facts = " ".join(f"{name}={value}" for name, value in entry["facts"].items() if name not in ("peer", "account", "certificate"))
            self.step(f"{operator}: {entry['what']} {entry['outcome']}", f"{entry['trace']} {facts}")

    def trace(self, operator: str, key: str) -> list[dict[str, Any]]:
        config = self.directory / self.operator(operator)["config"]
        command = [sys.executable, "-m", "mssgw", "trace", key, "--config", str(config), "--json"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603 - our own program
        if run.returncode:
            return []
        found: list[dict[str, Any]] = json.loads(run.stdout)["entries"]
        return found

    def read(self, reader: imaplib.IMAP4, number: int, message: EmailMessage, sent: Letter) -> None:
        answer: list[Any] = reader.fetch(str(number), "(BODY[])")[1]
        got = BytesParser(policy=SMTP_POLICY).parsebytes(answer[0][1])
        if got["Message-ID"] != message["Message-ID"]:
            raise StepFailed("the message read is not the one that was sent")
        verdict = " ".join(str(got["Authentication-Results"]).split())
        if "smime=pass" not in verdict:
            raise StepFailed(f"the signature was not verified: {verdict}")
        self.step("beta verified, decrypted", verdict)
        hashes = {part.get_filename(): hashlib.sha256(_octets(part)).hexdigest() for part in got.walk() if part.get_filename()}
        for name, _, content in sent.attachments:
            if hashes.get(name) != hashlib.sha256(content).hexdigest():
                raise StepFailed(f"{name} did not arrive as it was sent")
        self.step("Dr Durand reads it", ", ".join(f"{name} sha256 {hashes[name][:12]}… identical" for name, *_ in sent.attachments))

    # -- the refusals ---------------------------------------------------------------------------------------------

    def refusals(self) -> None:
        martin, place = self.doctor("alpha"), self.operator("alpha")["submission"]
        with smtplib.SMTP(place["host"], place["port"], timeout=PATIENCE) as client:
            client.starttls(context=self.tls())
            client.login(martin["address"], martin["password"])
            client.mail(martin["address"])
            self.refused("unlisted domain", *client.rcpt("quelqu.un@unlisted.mssante.test"))
        for peer, name in (("cn-differs", "impostor operator"), ("revoked", "revoked certificate")):
            self.refused(name, *self.knock(peer))

    def refused(self, name: str, code: int, text: bytes) -> None:
        if not 500 <= code < 600:
            raise StepFailed(f"{name} was not refused: {code} {text.decode('ascii', 'replace')}")
        self.step(f"refused: {name}", f"{code} {text.decode('ascii', 'replace')}")

    def knock(self, peer: str) -> tuple[int, bytes]:
        """A dialogue with alpha's relay port as one of the peers. Returns the first negative reply, or the last one."""
        row, place = self.description["peers"][peer], self.operator("alpha")["relay"]
        context = self.tls()
        context.load_cert_chain(self.directory / row["cert"], self.directory / row["key"])
        with smtplib.SMTP(place["host"], place["port"], local_hostname=f"mx.{row['domain']}", timeout=PATIENCE) as client:
            client.starttls(context=context)
            client.ehlo()
            code, text = client.mail(f"expediteur@{row['domain']}")
            if code < 300:
                code, text = client.rcpt(self.doctor("alpha")["address"])
            with suppress(smtplib.SMTPException, OSError):
                client.rset()
        return code, text


def _octets(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _line_with(client: imaplib.IMAP4, wanted: bytes) -> bytes:
    """The next line of the server that has `wanted` in it."""
    for _ in range(50):
        line: bytes = client.readline()
        if wanted in line:
            return line
        if not line:
            raise StepFailed("beta closed the connection")
    raise StepFailed(f"the server never said {re.escape(wanted.decode())}")
