"""Where nothing is ambiguous, Python's email, mutt and we show the same text: what `pass` stands on (docs/smime.md).

Messages are made at random, changed at random in the places where readers differ, and read by all three. A message that
`mime.ambiguity` finds fault with may be read differently; one that it passes may not. `MSSGW_FUZZ=long` goes on for ten minutes.
"""

from __future__ import annotations

import base64
import email
import email.policy
import os
import quopri
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mssgw.protocol import mime
from mssgw.smime.entity import Kind, kind_of
from tests.peers.test_mutt import on_a_terminal

BATCH = 1000
BATCHES = 3
LONG_SECONDS = 600
TOKEN = re.compile(rb"TOKEN\d+X")
SEPARATOR = b"=====NEXT====="

MUTTRC = f"""
set mbox_type=mbox pipe_decode=yes pipe_split=no pipe_sep="{SEPARATOR.decode()}\\n" crypt_verify_sig=no wait_key=no quit=yes
set delete=no move=no mark_old=no read_inc=0 sort=mailbox-order header_cache=""
set weed=no
"""


class Maker:
    """One random message, clear-signed by a signature that nobody checks here."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.boundaries: list[str] = []
        self.tokens = 0

    def message(self) -> list[str]:
        boundary = self._boundary()
        head = ["From: <a@alpha.mssante.test>", "Subject: essai", "MIME-Version: 1.0"]
        kind = f'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="{boundary}"'
        signature = ['Content-Type: application/pkcs7-signature; name="smime.p7s"', "Content-Transfer-Encoding: base64", "", "QUJD"]
        return [*head, kind, "", *self._preamble(), f"--{boundary}", *self._entity(0), f"--{boundary}", *signature, f"--{boundary}--", ""]

    def _boundary(self) -> str:
        self.boundaries.append(self.random.choice(["b", "=_b", "----=_NextPart_", "frontier.", "a/b:"]) + str(len(self.boundaries)) + "z")
        return self.boundaries[-1]

    def _preamble(self) -> list[str]:
        return self.random.choice([[], ["This is a message in MIME format."]])

    def _entity(self, depth: int) -> list[str]:
        kind = self.random.choice(["text", "text", "mixed", "message"] if depth < 3 else ["text"])
        if kind == "mixed":
            boundary = self._boundary()
            parts = [[f"--{boundary}", *self._entity(depth + 1)] for _ in range(self.random.randint(1, 3))]
            inside = [line for part in parts for line in part]
            quoted = self.random.choice([f'"{boundary}"', f'"{boundary}"', f'"{boundary}"; x-a=b'])
            return [f"Content-Type: multipart/mixed; boundary={quoted}", "", *self._preamble(), *inside, f"--{boundary}--", ""]
        if kind == "message":
            return ["Content-Type: message/rfc822", "", "From: <c@alpha.mssante.test>", "Subject: dedans", *self._entity(depth + 1)]
        return self._text()

    def _text(self) -> list[str]:
        self.tokens += 1
        text = f"Bonjour\nTOKEN{self.tokens}X\n-- \nfin\n".encode()
        head = self.random.choice(
            [
                ["Content-Type: text/plain; charset=utf-8"],
                ["Content-Type: text/plain"],
                [],
                ['Content-Type: TEXT/Plain; charset="iso-8859-1"'],
            ]
        )
        match self.random.choice(["none", "7bit", "base64", "qp"]):
            case "7bit":
                return [*head, "Content-Transfer-Encoding: 7bit", "", *text.decode().split("\n")]
            case "base64":
                return [*head, "Content-Transfer-Encoding: BASE64", "", *base64.encodebytes(text).decode().split("\n")]
            case "qp":
                return [*head, "Content-Transfer-Encoding: quoted-printable", "", *quopri.encodestring(text).decode().split("\n")]
        return [*head, "", *text.decode().split("\n")]


def changed(lines: list[str], maker: Maker) -> list[str]:
    """One change of a kind that some readers take and others don't."""
    lines, at = list(lines), maker.random.randrange(len(lines))
    one, boundary = lines[at], maker.random.choice(maker.boundaries)
    fake = f"TOKEN9{maker.random.randrange(1000)}X"
    changes: list[Callable[[], None]] = [
        lambda: lines.insert(at, one),
        lambda: lines.pop(at) and None,
        lambda: lines.insert(at, f"--{boundary}"),
        lambda: lines.insert(at, f"--{boundary}--"),
        lambda: lines.insert(at, f"--{boundary} "),
        lambda: lines.insert(at, f"--{boundary}q"),
        lambda: lines.insert(at, f"--{boundary[:-1]}"),
        lambda: lines.insert(at, f" --{boundary}"),
        lambda: lines.insert(at, ""),
        lambda: lines.insert(at, " "),
        lambda: lines.insert(at, fake),
        lambda: lines.insert(at, "--other"),
        lambda: lines.insert(at, "Content-Type: text/plain"),
        lambda: lines.insert(at, "Content-Type : text/plain"),
        lambda: lines.insert(at, "Content-Type: text/html"),
        lambda: lines.insert(at, "Content-Type:"),
        lambda: lines.insert(at, "content-type:\tapplication/octet-stream"),
        lambda: lines.insert(at, f'Content-Type: multipart/mixed; boundary="{boundary}"'),
        lambda: lines.insert(at, "Content-Type: message/rfc822"),
        lambda: lines.insert(at, "Content-Transfer-Encoding: base64"),
        lambda: lines.insert(at, "Content-Transfer-Encoding: quoted-printable"),
        lambda: lines.insert(at, "Content-Transfer-Encoding: x-uuencode"),
        lambda: lines.insert(at, "Content-Transfer-Encoding:"),
        lambda: lines.insert(at, "Content-Disposition: attachment; filename=a.txt"),
        lambda: lines.insert(at, "Content-Disposition: inline (x"),
        lambda: lines.insert(at, "X-A: b"),
        lambda: lines.__setitem__(at, one.replace(";", "; boundary=other;", 1)),
        lambda: lines.__setitem__(at, one.replace("boundary=", "boundary*=utf-8''", 1)),
        lambda: lines.__setitem__(at, one.replace("boundary=", "boundary*0=", 1)),
        lambda: lines.__setitem__(at, one.replace("boundary=", "(c) boundary=", 1)),
        lambda: lines.__setitem__(at, one.replace("boundary=", "BOUNDARY = ", 1)),
        lambda: lines.__setitem__(at, one.replace('"', "", 2)),
        lambda: lines.__setitem__(at, one.replace('"', "'")),
        lambda: lines.__setitem__(at, one.replace('z"', '\\z"')),
        lambda: lines.__setitem__(at, one.replace('z"', 'z "')),
        lambda: lines.__setitem__(at, one.replace("; ", ";\n ", 1)),
        lambda: lines.__setitem__(at, one.replace("; ", ";\n\t\n ", 1)),
        lambda: lines.__setitem__(at, one.replace("; ", " ", 1)),
        lambda: lines.__setitem__(at, one.replace("text/plain", "text")),
        lambda: lines.__setitem__(at, one.replace("text/plain", "text/plain/x")),
        lambda: lines.__setitem__(at, one.replace("text/plain", "(a)text/plain")),
        lambda: lines.__setitem__(at, one.replace("/", " / ", 1)),
        lambda: lines.__setitem__(at, one.replace("mixed", "digest")),
        lambda: lines.__setitem__(at, one.replace("rfc822", "partial")),
        lambda: lines.__setitem__(at, one.replace("rfc822", "global")),
        lambda: lines.__setitem__(at, one.replace("utf-8", "utf-7")),
        lambda: lines.__setitem__(at, one.replace(":", "\x0b:", 1)),
        lambda: lines.__setitem__(at, f"{one}\x00"),
        lambda: lines.__setitem__(at, f"{one}\x0c"),
        lambda: lines.__setitem__(at, one.replace(" ", "\r", 1)),
        lambda: lines.__setitem__(at, f"{one}\r"),
        lambda: lines.__setitem__(at, f"{one}\r--{boundary}\r\rTOKEN8X\r--{boundary}--"),
        lambda: lines.__setitem__(at, one.replace(" ", "\t ", 1)),
        lambda: lines.__setitem__(at, one.replace("-", "-\u2028", 1)),
        lambda: lines.__setitem__(at, f"{one}="),
        lambda: lines.__setitem__(at, f"{one}!"),
        lambda: lines.__setitem__(at, one.swapcase()),
        lambda: lines.__setitem__(at, one[: len(one) // 2]),
        lambda: lines.__setitem__(at, f" {one}"),
        lambda: lines.__setitem__(at, one.rstrip("-")),
        lambda: lines.__setitem__(at, one if ":" in one else f"{one}=00{fake}"),
        lambda: lines.__setitem__(at, one if ":" in one else f"{one}=0D=0A--{boundary}=0D=0A{fake}"),
        lambda: lines.__setitem__(at, one.replace("1.0", "2.0")),
        lambda: lines.__setitem__(at, one.replace("1.0", "(1.0) 1.0 (x)")),
        lambda: lines.__setitem__(at, one.replace("plain", "html")),
        lambda: lines.__setitem__(at, one.replace("text/plain", "text/x-other")),
        lambda: lines.__setitem__(at, one.replace("mixed", 'related; start="<2>"')),
        lambda: lines.__setitem__(at, one.replace("plain", "plain; format=flowed; delsp=yes")),
        lambda: lines.__setitem__(at, one.replace("application/pkcs7-signature", "application/octet-stream", 1)),
        lambda: lines.__setitem__(at, one.replace("pkcs7-signature", "pkcs7-mime")),
        lambda: lines.insert(at, "Content-Base: http://other.test/"),
        lambda: lines.insert(at, '<meta charset="utf-7">'),
        lambda: lines.insert(at, "MIME-Version: 1.0"),
        lambda: lines.insert(at, "From: <other@alpha.mssante.test>"),
        lambda: lines.insert(at, "begin 644 a.txt"),
    ]
    maker.random.choice(changes)()
    return "\n".join(lines).split("\n")


def ours(raw: bytes) -> list[bytes] | None:
    """The tokens in the text that is judged; None where no signature could pass."""
    root = mime.parse(raw)
    if kind_of(root) is not Kind.CLEAR_SIGNED or len(root.children) != 2 or mime.ambiguity(raw, root):
        return None
    body = mime.parse(raw).children[0]
    found: list[bytes] = []
    for part in body.walk():
        if part.media.startswith("text/"):
            content = raw[part.body_start : part.body_end]
            match part.encoding:
                case "base64":
                    content = base64.b64decode(content)
                case "quoted-printable":
                    content = quopri.decodestring(content)
            found += TOKEN.findall(content)
    return sorted(found)


def of_headers(raw: bytes) -> set[bytes]:
    """The tokens in the header fields of the message and of those inside, which mutt shows as well: they are nobody's text."""
    root = mime.parse(raw)
    shown = [root, *(part.message for part in root.children[0].walk() if part.message)]
    return {token for one in shown for token in TOKEN.findall(raw[one.header_start : one.body_start])}


def pythons(raw: bytes) -> list[bytes]:
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    found: list[bytes] = []
    for part in message.walk():
        if part.get_content_maintype() == "text":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            found += TOKEN.findall(content)
    return sorted(found)


async def mutts(messages: list[bytes], directory: Path) -> list[list[bytes]]:
    """What mutt shows of each: one run for all of them."""
    out, box, rc = directory / "out", directory / "mbox", directory / "muttrc"
    out.unlink(missing_ok=True)
    rc.write_text(f'{MUTTRC}set folder="{directory}"\n')  # else it asks whether to make one
    box.write_bytes(b"".join(b"From a@alpha Mon Nov 30 10:00:00 2026\n" + one.replace(b"\r\n", b"\n") + b"\n" for one in messages))
    keys = f"<tag-pattern>~A<enter><tag-prefix><pipe-message>cat >{out}<enter><quit>"
    await on_a_terminal("mutt", "-n", "-F", str(rc), "-R", "-f", str(box), "-e", f'push "{keys}"', home=directory)
    shown = out.read_bytes().split(SEPARATOR)
    assert len(shown) == len(messages) + 1, "mutt saw another number of messages"
    return [sorted(TOKEN.findall(one)) for one in shown[:-1]]


def generated(seed: int) -> Iterator[bytes]:
    for number in range(BATCH):
        maker = Maker(seed * BATCH + number)
        lines = maker.message()
        for _ in range(maker.random.randint(0, 3)):
            lines = changed(lines, maker)
        yield "\r\n".join(lines).encode()


@pytest.mark.peer("mutt")
async def test_three_readers_show_the_same_text_wherever_a_signature_may_pass(tmp_path: Path) -> None:
    end = time.monotonic() + LONG_SECONDS if os.environ.get("MSSGW_FUZZ") == "long" else 0.0
    seed = judged = 0
    while seed < BATCHES or time.monotonic() < end:
        found = [(raw, tokens) for raw in generated(seed) if (tokens := ours(raw)) is not None]
        shown = await mutts([raw for raw, _ in found], tmp_path)
        for (raw, tokens), by_mutt in zip(found, shown, strict=True):
            assert pythons(raw) == tokens, raw.decode()
            assert [token for token in by_mutt if token not in of_headers(raw)] == tokens, raw.decode()
        seed, judged = seed + 1, judged + len(found)
    print(f"{judged} of {seed * BATCH} messages could pass")
    assert judged > seed * BATCH // 4
