"""`mssgw smime verify|decrypt|sign|encrypt`: S/MIME on files, without a store or a running node."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mssgw.cli.frame import Json, failure, output
from mssgw.core.body import Body, BodyWriter
from mssgw.core.config.base import Secret
from mssgw.core.pki import Validate
from mssgw.core.texts import text
from mssgw.smime import files
from mssgw.smime.certificates import Certificate
from mssgw.smime.decrypting import Reading
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys import Identity
from mssgw.smime.opening import decrypt_now, open_now
from mssgw.smime.verdict import SignerVerdict, Verdict

app = typer.Typer(help="Sign, encrypt, verify and decrypt message files. FILE and OUT may be - for standard input and output.",
                  no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="FILE.eml", help="The message; - reads standard input.")]
Output = Annotated[str, typer.Option("--out", "-o", metavar="OUT", help="Where the message goes; - is standard output.")]
Cert = Annotated[Path, typer.Option("--cert", metavar="CERT", help="The certificate, PEM or DER; PEM may hold its chain.")]
Key = Annotated[Path, typer.Option("--key", metavar="KEY", help="Its private key: PEM, DER or PKCS#12.")]
Passphrase = Annotated[Path | None, typer.Option("--passphrase-file", metavar="FILE", help="File with the key's passphrase.")]
Moment = Annotated[datetime | None, typer.Option("--at", metavar="ISO8601", formats=[
    "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"], help="Judge as of this time.")]
CipherName = Literal["aes256-gcm", "aes128-gcm", "aes256-cbc", "aes128-cbc"]
Legacy = Annotated[bool, typer.Option("--legacy", help="Also read 3DES and RC2.")]


@app.command()
def verify(
    file: Source,
    anchors: Annotated[Path, typer.Option("--anchors", metavar="DIR", help="CA certificates trusted for this call, PEM or DER.")],
    at: Moment = None, cert: Annotated[Path | None, typer.Option("--cert", help="Decrypt with this certificate first.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="… and its private key.")] = None,
    passphrase: Passphrase = None, legacy: Legacy = False, json: Json = False,
) -> None:
    """Say who signed FILE, whether the signature holds, and whether From is the signer."""
    if (cert is None) != (key is None):
        raise typer.BadParameter("--cert and --key go together")
    readers = [_identity(cert, key, passphrase, None)] if cert and key else []
    opened = open_now(_read(file), readers, _validator(anchors), _moment(at), reading=Reading(legacy, True))
    output(_told(opened.verdict), json=json, document=opened.verdict.to_json())
    if not opened.verdict.holds:
        raise failure(_reasons(opened.verdict) or text("smime.none", "en"))


@app.command()
def decrypt(file: Source, cert: Cert, key: Key, passphrase: Passphrase = None, out: Output = "-", legacy: Legacy = False,
            json: Json = False) -> None:
    """Decrypt FILE. Nothing is written unless all of it could be decrypted."""
    opened = decrypt_now(_read(file), [_identity(cert, key, passphrase, None)], Reading(legacy, True))
    if not opened.unwrapped:
        raise failure(_reasons(opened.verdict) or "the message is not encrypted")
    verdict = opened.verdict
    _write(opened.readable, out, json, {
        "decrypted": True, "algorithms": list(verdict.ciphers), "layers": list(verdict.layers),
        "reasons": [one.value for one in verdict.reasons], "size": opened.readable.size})


@app.command()
def sign(file: Source, cert: Cert, key: Key,
         chain: Annotated[Path | None, typer.Option("--chain", metavar="CHAIN", help="Intermediate certificates to send along.")] = None,
         passphrase: Passphrase = None, pss: Annotated[bool, typer.Option("--pss", help="RSASSA-PSS instead of PKCS#1 v1.5.")] = False,
         opaque: Annotated[bool, typer.Option("--opaque", help="application/pkcs7-mime instead of multipart/signed.")] = False,
         header_protection: Annotated[bool, typer.Option("--header-protection/--no-header-protection", help="Sign the header too.")] = True,
         out: Output = "-", json: Json = False) -> None:
    """Sign FILE."""
    made, facts = files.sign(_read(file), _identity(cert, key, passphrase, chain), datetime.now(UTC), pss=pss, opaque=opaque,
                             header_protection=header_protection)
    _write(made, out, json, facts)


@app.command()
def encrypt(file: Source, to: Annotated[list[Path], typer.Option("--to", metavar="CERT", help="A reader's certificate; repeat for more.")],
            cipher: Annotated[CipherName, typer.Option(help="Content cipher.")] = "aes256-cbc",
            oaep: Annotated[bool, typer.Option("--oaep", help="RSA-OAEP instead of PKCS#1 v1.5.")] = False,
            experimental: Annotated[bool, typer.Option("--experimental", help="Allow ML-KEM readers.")] = False,
            out: Output = "-", json: Json = False) -> None:
    """Encrypt FILE to one or more readers. The default is what every mail program reads."""
    readers = [one for path in to for one in _certificates(path)[:1]]
    made, facts = files.encrypt(_read(file), readers, cipher, oaep=oaep, experimental=experimental)
    _write(made, out, json, facts)


# --- files --------------------------------------------------------------------------------------------------------------


def _read(file: str) -> Body:
    writer = BodyWriter()
    if file == "-":
        shutil.copyfileobj(sys.stdin.buffer, writer, 1 << 20)
    else:
        with Path(file).open("rb") as source:
            shutil.copyfileobj(source, writer, 1 << 20)
    return writer.finish()


def _write(body: Body, out: str, json: bool, facts: dict[str, Any]) -> None:
    """The message to OUT; with --json the facts on standard output, and the message only when OUT is a file."""
    if out != "-":
        with Path(out).open("wb") as file:
            file.writelines(body.chunks(1 << 20))
    elif not json:
        for chunk in body.chunks(1 << 20):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    if json:
        output("", json=True, document=facts)


def _certificates(path: Path) -> tuple[Certificate, ...]:
    try:
        return files.certificates(path)
    except SmimeError as error:
        raise failure(f"{path}: {error.detail}") from error


def _identity(cert: Path, key: Path, passphrase: Path | None, chain: Path | None) -> Identity:
    certificates = _certificates(cert) + (_certificates(chain) if chain else ())
    return files.identity(certificates, key, Secret("file", str(passphrase)) if passphrase else None)


def _validator(anchors: Path) -> Validate:
    from mssgw.core.clock import SystemClock
    from mssgw.trust import anchors as trusted
    from mssgw.trust.paths import Rules, Validator
    from mssgw.trust.revocation import Ledger, Rule

    clock = SystemClock()
    none = Rule("none")
    return Validator(trusted.load(anchors), Ledger(clock), clock, Rules(peers=none, mail=none, signer=none))


def _moment(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _reasons(verdict: Verdict) -> str:
    explained = [reason for reason in verdict.reasons if not any(one.startswith(reason) for one in verdict.details)]
    return "; ".join([*explained, *verdict.details])


def _told(verdict: Verdict) -> str:
    # In English, as the reasons and all that the command line says.
    reasons = [f"  {', '.join(verdict.reasons)}"] if verdict.reasons else []
    return "\n".join([verdict.banner("en"), *map(_signer, verdict.signers), *reasons])


def _signer(one: SignerVerdict) -> str:
    why = f" ({one.reason}: {one.detail})" if one.reason else ""
    return f"  {one.subject}: {one.status}, {one.algorithm}, {one.binding}{why}"
