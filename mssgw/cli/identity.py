"""`mssgw identity …`: the keys and certificates by which accounts sign and read mail.

Passphrases and PINs are asked for, or stand in files; never in arguments. What is refused is decided in `flow.enrolment`.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mssgw.cli.account import account_at, address_argument
from mssgw.cli.config import loaded
from mssgw.cli.frame import ConfigFile, Family, Json, at, both, failure, inline, labelled, of_os, output, say, table, warn
from mssgw.cli.opened import acting, reading, with_store
from mssgw.cli.prompts import hidden
from mssgw.cli.tokens import InToken, asked_pin
from mssgw.core.address import Address
from mssgw.core.clock import SystemClock
from mssgw.core.errors import ConfigError, MailError, located
from mssgw.core.texts import Message, message
from mssgw.core.tokens import TokenReference
from mssgw.flow import enrolment
from mssgw.flow.enrolment import NotTakenIn, Owner
from mssgw.flow.keyring import readable, why_unusable
from mssgw.node.unlocking import sessions
from mssgw.node.unlocking import unlock as node_unlock
from mssgw.smime import files
from mssgw.smime.directories.files import key_files
from mssgw.smime.errors import FileProblem, KeyFileError, SmimeError
from mssgw.smime.keys import files as keyfiles
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.trial import require_works
from mssgw.store import Reader, Store, identities
from mssgw.store.identities import Fault, Identity, IdentityId, Kind, State
from mssgw.trust import Trust

app = Family(help="Keys and certificates of accounts.", no_args_is_help=True)

_Who = Annotated[Address, typer.Argument(metavar="ADDRESS", parser=address_argument)]
_Number = Annotated[int, typer.Argument(metavar="NUMBER", help="As `list` shows it.")]
_Kind = Annotated[Kind | None, typer.Option(help="Use it for this alone; otherwise for what its certificate allows.")]
_Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the request to FILE.")]
_Algorithm = Annotated[enrolment.Algorithm, typer.Option(help="The new key.")]
_Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="What opens an encrypted key; asked for otherwise.")
]
_PinStdin = Annotated[bool, typer.Option("--pin-stdin", help="Read the PIN from the first line of standard input.")]
DAYS = 60  # before its end a certificate is expiring


@dataclass(frozen=True, slots=True)
class _Read:
    certificates: tuple[Certificate, ...]
    private: tuple[Any, ...]


@app.command()
def add(
    who: _Who,
    given: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Certificate and key: PKCS#12, PEM, DER, in one file or several.")],
    config: ConfigFile,
    passphrase_file: _Passphrase = None,
    token: Annotated[
        str | None, typer.Option(metavar="pkcs11:…", help="Where the key is: pkcs11:token=LABEL;object=NAME[?module-path=…&pin-source=…].")
    ] = None,
    pin_stdin: _PinStdin = False,
    kind: _Kind = None,
    retired: Annotated[bool, typer.Option("--retired", help="A key of the past, which only opens old mail.")] = False,
    json: Json = False,
) -> None:
    """Take in a key with its certificate, or the certificate of a request."""
    settings = loaded(config)
    with _sentences():
        read, place = _files(given, passphrase_file), None
        if token is not None:
            place = InToken.asked(token, settings.smime, pin_stdin=pin_stdin)
        found, warned = with_store(settings, lambda opened: _add(opened, who, read, place, kind, retired=retired))
    if warned:
        warn(warned)
    document = {**_described(found), "warning": warned and warned.en, "warning_fr": warned and warned.fr}
    output(both(say("identity.added", number=found.id, address=str(found.address))), json=json, document=document)


async def _add(
    opened: Store, who: Address, read: _Read, place: InToken | None, kind: Kind | None, *, retired: bool
) -> tuple[Identity, Message | None]:
    """What was taken in, and what its owner should know of it."""
    owner, now, by = await opened.read(lambda rx: Owner.of(rx, account_at(rx, who))), opened.clock.now(), _caller()
    certificates = keyfiles.holder_first(read.certificates, now)
    if place is None and not read.private:
        warned = await _judged(opened, certificates[0], kind or Kind.BOTH, now)
        return await opened.write(lambda tx: enrolment.completed(tx, owner, certificates, now, by, kind=kind)), warned
    if place is not None:
        new = enrolment.in_token(owner, certificates, place.reference, now, kind=kind, retired=retired)
        await asyncio.to_thread(place.use, certificates[0], require_works)
    else:
        new = enrolment.from_files(owner, certificates, read.private, now, kind=kind, retired=retired)
    warned = None if retired or new.issued is None else await _judged(opened, certificate(new.issued.der), new.kind, now)
    await opened.require_key(owner.account.address.domain)
    return await opened.write(lambda tx: identities.add(tx, owner.account, new, by)), warned


async def _judged(opened: Store, own: Certificate, kind: Kind, now: datetime) -> Message | None:
    """As a worker judges it, with the revocation lists that the node keeps on disk. Raises NotTakenIn."""
    try:
        trust = Trust.of(opened.config, opened.clock)
    except ConfigError as error:  # `config check` reports it; a key may be taken in before the authorities are there
        return message("identity.not-judged", subject=own.name, why=located(*error.problems[0]))
    await trust.feed.load(trust.validator)
    return enrolment.require_path(own, kind, trust.validate, now)


@app.command("list")
def list_(
    config: ConfigFile,
    who: Annotated[Address | None, typer.Argument(metavar="[ADDRESS]", parser=address_argument)] = None,
    expiring: Annotated[int | None, typer.Option("--expiring", metavar="DAYS", help="Those alone that end within DAYS, or have.")] = None,
    json: Json = False,
) -> None:
    """List the identities, of all accounts or of one."""
    now = SystemClock().now()

    def work(rx: Reader) -> list[Identity]:
        if who is not None:
            found = identities.of_account(rx, account_at(rx, who).id)
            limit = now + timedelta(days=expiring or 0)
            ending = [one for one in found if one.state is State.ACTIVE and one.not_after and one.not_after < limit]
            return found if expiring is None else ending
        return identities.list_all(rx) if expiring is None else identities.ending(rx, now + timedelta(days=expiring))

    found = reading(config, work)
    for one in found:
        if fault := why_unusable(one):
            warn(say("identity.unusable", number=one.id, address=str(one.address), why=fault.message))
    output(
        table(say("identity.columns"), (_row(one, now) for one in found)) if found else say("identity.none"),
        json=json,
        document=[_described(one, now) for one in found],
    )


@app.command()
def show(number: _Number, config: ConfigFile, json: Json = False) -> None:
    """Show one identity with its certificate."""
    with _sentences():
        found = reading(config, lambda rx: identities.by_number(rx, IdentityId(number)))
    document = _described(found)
    fault = why_unusable(found)
    shown = {name: value for name, value in document.items() if name not in ("fault", "why_fr")} | {"why": fault and fault.message}
    text = labelled(shown, lambda name: say(f"identity.field.{name}"))
    output(
        text + (f"\n{enrolment.pem_of(found.csr)}" if found.csr and found.state is State.REQUESTED else ""), json=json, document=document
    )


@app.command()
def request(
    who: _Who,
    config: ConfigFile,
    kind: Annotated[Kind, typer.Option()] = Kind.BOTH,
    algorithm: _Algorithm = "rsa-2048",
    out: _Out = None,
    json: Json = False,
) -> None:
    """Make a key here and a request for its certificate; `add` with the certificate completes it."""
    with _sentences():
        found = with_store(loaded(config), lambda opened: _request(opened, who, kind, algorithm))
    _requested(found, out, json)


async def _request(opened: Store, who: Address, kind: Kind, algorithm: enrolment.Algorithm) -> Identity:
    owner = await opened.read(lambda rx: Owner.of(rx, account_at(rx, who)))
    new = enrolment.requested(owner, kind, algorithm)
    await opened.require_key(owner.account.address.domain)
    return await opened.write(lambda tx: identities.add(tx, owner.account, new, _caller()))


def _requested(found: Identity, out: Path | None, json: bool) -> None:
    pem = enrolment.pem_of(found.csr or b"")
    if out is not None:
        out.write_text(pem, encoding="ascii")
    said = both(say("identity.requested", number=found.id, address=str(found.address)))
    output(said if out else f"{said}\n{pem}".rstrip(), json=json, document={**_described(found), "csr": pem})


@app.command()
def renew(
    number: _Number,
    config: ConfigFile,
    algorithm: _Algorithm = "rsa-2048",
    pin_stdin: _PinStdin = False,
    out: _Out = None,
    json: Json = False,
) -> None:
    """Request the next certificate: with a new key, or, of a token or card, for the key in it. Both certificates overlap."""
    settings = loaded(config)
    with _sentences():
        before = reading(config, lambda rx: identities.by_number(rx, IdentityId(number)))
        own = readable(before)
        if before.token is None:
            found = with_store(settings, lambda opened: _request(opened, before.address, before.kind, algorithm))
        elif own is None or before.fault:
            raise failure(
                say("identity.not-renewed", number=number, why=(why_unusable(before) or Fault.CERTIFICATE).message), fault="token"
            )
        else:
            place = InToken.asked(before.token, settings.smime, pin_stdin=pin_stdin)
            found = with_store(settings, lambda opened: _request_again(opened, before, own, place))
    _requested(found, out, json)


async def _request_again(opened: Store, before: Identity, own: Certificate, place: InToken) -> Identity:
    owner = await opened.read(lambda rx: Owner.of(rx, account_at(rx, before.address)))
    new = await asyncio.to_thread(place.use, own, lambda who: enrolment.requested_again(owner, before.kind, who, place.reference))
    return await opened.write(lambda tx: identities.add(tx, owner.account, new, _caller()))


@app.command()
def retire(number: _Number, config: ConfigFile, json: Json = False) -> None:
    """Sign with it no more. What was encrypted to it stays readable: the key is kept."""
    with _sentences():
        found = with_store(loaded(config), lambda opened: opened.write(lambda tx: identities.retire(tx, IdentityId(number), _caller())))
    output(both(say("identity.retired", number=number, address=str(found.address))), json=json, document=_described(found))


@app.command()
def unlock(
    who: _Who,
    config: ConfigFile,
    pin_stdin: _PinStdin = False,
    json: Json = False,
) -> None:
    """Give the PIN of a person's card or token to the running node, for as long as the card stays in. It is asked for when it is needed."""
    settings = loaded(config)
    found = with_store(settings, lambda opened: opened.read(lambda rx: identities.of_account(rx, account_at(rx, who).id)))
    references = [
        one.token
        for one in found
        if one.token and not one.fault and one.state is State.ACTIVE and TokenReference.parse(one.token).pin is None
    ]
    if not references:
        raise failure(say("identity.no-token", address=str(who)), fault="token")
    tokens = {}
    for token, reference in {TokenReference.parse(one).name: one for one in references}.items():  # one PIN opens all keys of it
        found_now = sessions(settings.node.data, reference)
        if not found_now.workers:
            raise failure(say("identity.no-node"), fault="no-node")
        if found_now.unlocked < found_now.workers:  # else no PIN is asked for, and none can be wrong
            found_now = node_unlock(settings.node.data, reference, asked_pin(token, pin_stdin=pin_stdin))
        tokens[token] = found_now
    document = {
        "address": str(who),
        "workers": min(one.unlocked for one in tokens.values()),
        "tokens": [{"token": token, **asdict(one)} for token, one in tokens.items()],
    }
    if short := {token: one for token, one in tokens.items() if one.unlocked < one.workers}:
        fault = "half-unlocked" if any(one.unlocked for one in tokens.values()) else "token"
        detail = "; ".join(f"{token}: {one.refused}" for token, one in short.items())
        raise failure(*(one.said(token) for token, one in short.items()), fault=fault, detail=detail, known=document)
    output(both(say("identity.unlocked", address=str(who))), json=json, document=document)


@app.command("import")
def import_(
    config: ConfigFile,
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="smime.identities otherwise.")] = None,
    passphrase_file: _Passphrase = None,
    json: Json = False,
) -> None:
    """Take in a directory of NAME.pem with NAME.key, and of NAME.p12. The files stay, and go on working while they are configured."""
    settings = loaded(config)
    place = directory or settings.smime.identities
    if place is None:
        raise failure(say("identity.no-directory"), fault="directory")
    if settings.smime.identities and not directory:
        acting(settings)
    results = with_store(settings, lambda opened: _import(opened, place, passphrase_file))
    for one in results:
        if one["reason"]:
            warn(at(one["file"], one["reason"]))
    taken = sum(not one["reason"] for one in results)
    output(both(say("identity.imported", taken=taken, count=len(results), path=place)), json=json, document=results)
    if taken < len(results):
        raise failure(say("identity.not-imported", count=len(results) - taken), fault="import")


async def _import(opened: Store, place: Path, passphrase_file: Path | None) -> list[dict[str, Any]]:
    """One result for each identity in the directory. What is here already counts as taken."""
    results = []
    for group in key_files(place):
        result: dict[str, Any] = {"file": str(group[0]), "identity": None, "address": None, "reason": None, "fault": None}
        try:
            read = _files(group, passphrase_file, ask=False)
            owner = await opened.read(partial(_owner, certificates=read.certificates))
            result["address"] = str(owner)
            retired = keyfiles.holder_first(read.certificates, opened.clock.now())[0].not_after < opened.clock.now()
            added, warned = await _add(opened, owner, read, None, None, retired=retired)
            result["identity"] = added.id
            if warned:
                warn(at(result["file"], warned))
        except MailError as error:
            known = None if isinstance(error, KeyFileError) else await opened.read(partial(_known, certificates=read.certificates))
            result |= {"identity": known} if known else {"reason": error.message, "fault": _fault(error)}
        except OSError as error:
            result |= {"reason": of_os(error), "fault": "file"}
        results.append(result)
    return results


def _owner(rx: Reader, certificates: tuple[Certificate, ...]) -> Address:
    """The account that the certificates in a file are for. Raises NotTakenIn."""
    for one in certificates:
        for address in one.addresses:
            with contextlib.suppress(MailError):
                return account_at(rx, address).address
    raise NotTakenIn(
        enrolment.Why.ADDRESS, subject=certificates[0].name, address="-", named=", ".join(map(str, certificates[0].addresses)) or "-"
    )


def _known(rx: Reader, certificates: tuple[Certificate, ...]) -> int | None:
    return next((held.id for held in identities.list_all(rx) for one in certificates if held.der == one.der), None)


# --- files ----------------------------------------------------------------------------------------------------------------


def _files(given: list[Path] | tuple[Path, ...], passphrase_file: Path | None, *, ask: bool = True) -> _Read:
    """Everything in the files. Raises KeyFileError, OSError."""
    passphrase = passphrase_file.read_bytes().rstrip(b"\r\n") if passphrase_file else None
    found = []
    for path in given:
        one = files.material(path, passphrase)
        if ask and passphrase is None and one.problem and one.problem.problem is FileProblem.PASSPHRASE_MISSING:
            one = files.material(path, hidden(say("identity.ask-passphrase", path=path), "--passphrase-file").encode())
        if one.problem and not (one.keys or one.certificates):
            raise one.problem.at(path)
        if one.problem and one.problem.problem in (FileProblem.PASSPHRASE_MISSING, FileProblem.PASSPHRASE_WRONG, FileProblem.DAMAGED):
            raise one.problem.at(path)
        found.append(one)
    certificates = tuple(dict.fromkeys(each for one in found for each in one.certificates))
    if not certificates:
        raise KeyFileError(FileProblem.NO_CERTIFICATE).at(given[0])
    return _Read(certificates, tuple(key for one in found for key in one.keys))


# --- sentences ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Refusals in both languages, with the file they are about."""
    try:
        yield
    except KeyFileError as error:
        raise failure(at(error.place, error.message) if error.place else error.message, fault=_fault(error)) from error
    except MailError as error:
        raise failure(error.message, fault=_fault(error), detail=error.detail) from error


def _fault(error: MailError) -> str:
    match error:
        case NotTakenIn():
            return str(error.why)
        case KeyFileError():
            return f"file-{error.problem}"
        case SmimeError():
            return str(error.reason)
        case _:
            return "other"


def _caller() -> str:
    return f"cli {getpass.getuser()}"


def _state(one: Identity, now: datetime) -> str:
    """`expiring` and `expired` follow from the dates, `unusable` from all of the row; they are not stored."""
    if why_unusable(one):
        return "unusable"
    if one.state is State.ACTIVE and one.not_after is not None:
        return "expired" if one.not_after < now else "expiring" if one.not_after - now < timedelta(days=DAYS) else "active"
    return str(one.state)


def _row(one: Identity, now: datetime) -> tuple[object, ...]:
    until = f"{one.not_after:%Y-%m-%d}" if one.not_after else "-"
    place = "token" if one.token else "store"
    return one.id, one.address, inline(say(f"identity.state.{_state(one, now)}")), one.kind, until, place


def _described(one: Identity, now: datetime | None = None) -> dict[str, Any]:
    own, fault = readable(one), why_unusable(one)
    return {
        "identity": one.id,
        "address": str(one.address),
        "state": _state(one, now or SystemClock().now()),
        "kind": one.kind,
        "fault": fault,
        "why": fault and fault.message.en,
        "why_fr": fault and fault.message.fr,
        "subject": own.name if own else None,
        "issuer": own.issuer_name if own else None,
        "serial": own.serial_hex if own else None,
        "fingerprint": own.fingerprint if own else None,
        "not_before": one.not_before and one.not_before.isoformat(),
        "not_after": one.not_after and one.not_after.isoformat(),
        "key": one.token or "store",
        "added_by": one.added_by,
        "added": one.added.isoformat(),
        "changed": one.changed.isoformat(),
    }
