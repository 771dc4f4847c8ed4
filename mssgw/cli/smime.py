"""`mssgw smime verify|decrypt|sign|encrypt`: S/MIME on files, without a store or a running node.

With `--json` the document holds what was found or done; when OUT is standard output the message stands in it too, as
base64 in `message`, so that nothing made is ever lost. FILE may be a message or a bare CMS structure (a saved smime.p7m).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pybase64
import typer

from mssgw.cli.frame import Family, Json, at, failure, of_os, output, output_with_message, say, warn
from mssgw.cli.usage import WrongUse
from mssgw.core.address import Address, AddressError
from mssgw.core.body import Body, BodyWriter
from mssgw.core.clock import SystemClock
from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message
from mssgw.pki.judgement import Validate
from mssgw.smime import files, fitness
from mssgw.smime.cms.decrypting import Reading
from mssgw.smime.errors import KeyFileError, Reason, SmimeError
from mssgw.smime.fitness import Doubt
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.keys.key import Identity
from mssgw.smime.opening import decrypt_now, open_now
from mssgw.smime.verdict import EncryptionStatus, SignerVerdict, Verdict

app = Family(
    help="Sign, encrypt, verify and decrypt message files. FILE and OUT may be - for standard input and output.", no_args_is_help=True
)

Source = Annotated[str, typer.Argument(metavar="FILE.eml", help="The message, or a saved smime.p7m; - reads standard input.")]
Output = Annotated[
    str,
    typer.Option("--out", "-o", metavar="OUT", help="Where the message goes; - is standard output (with --json: base64, in the document)."),
]
Cert = Annotated[
    Path | None,
    typer.Option("--cert", metavar="CERT", help="The certificate, and its chain if it stands there; not needed when it is in KEY."),
]
Key = Annotated[Path, typer.Option("--key", metavar="KEY", help="The private key. PEM, DER, PKCS#12, bundles: any shape.")]
Passphrase = Annotated[Path | None, typer.Option("--passphrase-file", metavar="FILE", help="File with the key's passphrase.")]
Moment = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        metavar="ISO8601",
        formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"],
        help="Judge as of this time.",
    ),
]
CipherName = Literal["aes256-gcm", "aes128-gcm", "aes256-cbc", "aes128-cbc"]
Legacy = Annotated[bool, typer.Option("--legacy", help="Also read 3DES and RC2, and with RSA keys under 2048 bits.")]


@app.command()
def verify(
    file: Source,
    anchors: Annotated[
        Path, typer.Option("--anchors", metavar="DIR", help="CA certificates trusted for this call, PEM or DER; a directory or one file.")
    ],
    at: Moment = None,
    author: Annotated[
        str | None, typer.Option("--from", metavar="ADDRESS", help="Whom FILE should be from, when it names nobody: a saved smime.p7m.")
    ] = None,
    cert: Annotated[Path | None, typer.Option("--cert", help="Decrypt with this certificate first.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="… and its private key.")] = None,
    passphrase: Passphrase = None,
    legacy: Legacy = False,
    json: Json = False,
) -> None:
    """Say who signed FILE, whether the signature holds, and whether From is the signer."""
    if cert is not None and key is None:
        raise WrongUse(message("smime.cert-needs-key"))
    with _sentences():
        readers = [_identity(cert, key, passphrase, weak=legacy)] if key else []
        moment = _moment(at)
        verdict = open_now(
            _read(file), readers, _validator(anchors), moment, reading=Reading(legacy, True), author=_address(author)
        ).verdict
    output(_told(verdict), json=json, document=verdict.to_json() | {"at": moment.isoformat()})
    if not verdict.valid:
        raise _no(verdict, moment)


@app.command()
def decrypt(
    file: Source, key: Key, cert: Cert = None, passphrase: Passphrase = None, out: Output = "-", legacy: Legacy = False, json: Json = False
) -> None:
    """Decrypt FILE. Nothing is written unless all of it could be decrypted."""
    with _sentences():
        opened = decrypt_now(_read(file), [_identity(cert, key, passphrase, weak=legacy)], Reading(legacy, True))
        verdict = opened.verdict
        if verdict.encryption is not EncryptionStatus.DECRYPTED:
            signed = any("signed" in one or one == "certificates" for one in verdict.layers) and "encrypted" not in verdict.layers
            raise _no(verdict, None) if verdict.reasons and not signed else failure(say("smime.not-encrypted"), fault="not-encrypted")
        for reason in verdict.reasons:
            warn(_reason(reason))
        _write(
            opened.readable,
            out,
            json,
            {
                "decrypted": True,
                "algorithms": list(verdict.ciphers),
                "layers": list(verdict.layers),
                "reasons": [one.value for one in verdict.reasons],
                "size": opened.readable.size,
            },
        )


@app.command()
def sign(
    file: Source,
    key: Key,
    cert: Cert = None,
    chain: Annotated[Path | None, typer.Option("--chain", metavar="CHAIN", help="Intermediate certificates to send along.")] = None,
    passphrase: Passphrase = None,
    pss: Annotated[bool, typer.Option("--pss", help="RSASSA-PSS instead of PKCS#1 v1.5.")] = False,
    opaque: Annotated[bool, typer.Option("--opaque", help="application/pkcs7-mime instead of multipart/signed.")] = False,
    header_protection: Annotated[bool, typer.Option("--header-protection/--no-header-protection", help="Sign the header too.")] = True,
    out: Output = "-",
    json: Json = False,
) -> None:
    """Sign FILE."""
    with _sentences():
        who, now = _identity(cert, key, passphrase, chain), SystemClock().now()
        message = _message(file)
        doubts = *fitness.doubts(who.certificate, "sign", now), *fitness.author_doubts(who.certificate, files.headers(message))
        warnings = _warned(doubts)
        made, facts = files.sign(message, who, now, pss=pss, opaque=opaque, header_protection=header_protection)
        _write(made, out, json, facts | {"warnings": warnings})


@app.command()
def encrypt(
    file: Source,
    to: Annotated[
        list[Path], typer.Option("--to", metavar="CERT", help="A reader's certificate, or a file of several readers'; repeat for more.")
    ],
    cipher: Annotated[CipherName, typer.Option(help="Content cipher.")] = "aes256-cbc",
    oaep: Annotated[bool, typer.Option("--oaep", help="RSA-OAEP instead of PKCS#1 v1.5.")] = False,
    experimental: Annotated[bool, typer.Option("--experimental", help="Allow ML-KEM readers.")] = False,
    out: Output = "-",
    json: Json = False,
) -> None:
    """Encrypt FILE to one or more readers. The default is what every mail program reads."""
    with _sentences():
        found = {one: doubts for path in to for one, doubts in _readers(path, SystemClock().now())}
        warnings = _warned([doubt for doubts in found.values() for doubt in doubts])
        made, facts = files.encrypt(_message(file), list(found), cipher, oaep=oaep, experimental=experimental)
        _write(made, out, json, facts | {"warnings": warnings})


# --- files --------------------------------------------------------------------------------------------------------------


def _read(file: str) -> Body:
    writer = BodyWriter()
    if file == "-":
        shutil.copyfileobj(sys.stdin.buffer, writer, 1 << 20)
    else:
        with Path(file).open("rb") as source:
            shutil.copyfileobj(source, writer, 1 << 20)
    body = writer.finish()
    if not body.read(0, 4096).strip() and body.size <= 4096:
        raise failure(say("smime.empty-message", file=file), fault="empty")
    return files.as_message(body)


def _message(file: str) -> Body:
    body = _read(file)
    if not files.is_message(body):
        raise failure(say("smime.not-a-message", file=file), fault="not-a-message")
    return body


def _write(body: Body, out: str, json: bool, facts: dict[str, Any]) -> None:
    """The message to OUT, whole or not at all; to standard output with --json: inside the document."""
    if out != "-":
        _to_file(body, Path(out))
        if json:
            output("", json=True, document=facts)
    elif json:
        output_with_message(facts, (pybase64.b64encode(chunk) for chunk in body.chunks(3 << 18)))
    else:
        for chunk in body.chunks(1 << 20):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _to_file(body: Body, path: Path) -> None:
    if path.exists() and not path.is_file():  # a pipe, a device
        with path.open("wb") as file:
            file.writelines(body.chunks(1 << 20))
        return
    if not path.parent.is_dir():
        word = "os.ENOTDIR" if path.parent.exists() else "cli.directory.ENOENT"
        raise failure(at(path.parent, say(word)), fault="file")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.writelines(body.chunks(1 << 20))
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def _readers(path: Path, now: datetime) -> list[tuple[Certificate, tuple[Doubt, ...]]]:
    """Whom to encrypt to: everybody in the file; a certificate that can't be is said with its file, of many."""
    try:
        return [(one, fitness.doubts(one, "encrypt", now)) for one in fitness.readers(files.certificates(path, now))]
    except SmimeError as error:
        raise failure(at(path, _refusal(error)), fault=error.reason, detail=error.where) from error


def _identity(cert: Path | None, key: Path, passphrase: Path | None, chain: Path | None = None, *, weak: bool = False) -> Identity:
    if str(key).startswith("pkcs11:"):
        raise failure(say("smime.token", name=key), fault="token")
    secret = passphrase.read_bytes().rstrip(b"\r\n") if passphrase else None
    return files.identity(cert, key, SystemClock().now(), secret, chain, weak=weak)


def _validator(anchors: Path) -> Validate:
    from mssgw.trust import anchors as trusted
    from mssgw.trust.paths import Rules, Validator
    from mssgw.trust.revocation import Ledger, Rule

    clock = SystemClock()
    none = Rule("none")
    kind = anchors.stat()
    if not (stat.S_ISREG(kind.st_mode) or stat.S_ISDIR(kind.st_mode)):
        raise failure(say("smime.anchors.kind", path=anchors), fault="anchors")
    try:
        found = trusted.load(anchors)
    except ConfigError as error:
        held = [
            one
            for path in ([anchors] if anchors.is_file() else anchors.iterdir())
            if path.is_file()
            for one in trusted.read_file(path, lenient=True)
        ]
        raise failure(
            say("smime.anchors.no-root" if held else "smime.anchors.none", path=anchors),
            fault="anchors",
            detail="; ".join(str(what) for _, what in error.problems[1:]),
        ) from error
    return Validator(found, Ledger(clock), clock, Rules(peers=none, mail=none, signer=none))


def _moment(at: datetime | None) -> datetime:
    if at is None:
        return SystemClock().now()
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# --- sentences ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """What can be wrong with files, in a sentence that names the file."""
    try:
        yield
    except KeyFileError as error:
        raise failure(at(error.place, error.message) if error.place else error.message, fault=f"file-{error.problem}") from error
    except SmimeError as error:
        raise failure(_refusal(error), fault=error.reason, detail=error.where) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise failure(of_os(error), fault="file") from error


def _reason(reason: Reason) -> Message:
    return at(reason, say(f"smime.reason.{reason}"))


def _refusal(error: SmimeError) -> Message:
    """Why a certificate or a message is refused, its cause in both languages where there is a sentence for it."""
    return at(error.reason, error.message)


def _warned(doubts: Sequence[Doubt]) -> list[dict[str, str]]:
    """Tell the doubts, and answer them as data."""
    for one in doubts:
        warn(one.message)
    return [{"code": one.word, "fr": one.message.fr, "en": one.message.en} for one in doubts]


def _address(text: str | None) -> Address | None:
    try:
        return None if text is None else Address.parse(text)
    except AddressError as error:
        raise WrongUse(error.message, "--from") from error


def _no(verdict: Verdict, moment: datetime | None) -> typer.Exit:
    """Why it doesn't hold: each reason in both languages, then where it failed."""
    told = [] if verdict.intact and not verdict.names_author else [_reason(reason) for reason in verdict.reasons]
    said = told or list(verdict.sentences())
    said += [sentence for one in verdict.signers if moment and (sentence := _outside(one, moment))]
    said += dict.fromkeys(one.refused for one in verdict.signers if one.refused is not None)
    details = "; ".join(dict.fromkeys([*verdict.details, *(one.detail for one in verdict.signers if one.refused is None and one.detail)]))
    return failure(
        *said,
        fault=verdict.reasons[0] if verdict.reasons else "not-signed",
        detail=details,
    )


def _outside(one: SignerVerdict, moment: datetime) -> Message | None:
    """The signer's certificate is not valid at the time asked for: whose, its dates, that time."""
    if one.certificate is None:
        return None
    found = certificate(one.certificate)
    try:
        if found.valid_at(moment):
            return None
    except SmimeError:
        return None
    start, end = found.parsed.not_valid_before_utc, found.parsed.not_valid_after_utc
    return say("smime.outside", subject=one.subject, start=f"{start:%Y-%m-%d}", end=f"{end:%Y-%m-%d}", asked=f"{moment:%Y-%m-%d}")


def _told(verdict: Verdict) -> str:
    # First all of it in French, then in English; what programs use as well stands between, in neither.
    reasons = "\n".join(f"  {one}" for reason in verdict.reasons for one in (_reason(reason).fr, _reason(reason).en))
    parts = [verdict.banner("fr"), verdict.banner("en"), *map(_signer, verdict.signers), reasons if verdict.valid else ""]
    return "\n".join(part for part in parts if part)


def _signer(one: SignerVerdict) -> str:
    why = f" ({one.reason}: {one.detail})" if one.reason else ""
    return f"  {one.subject}: {one.status}, {one.algorithm}, {one.binding}{why}"
