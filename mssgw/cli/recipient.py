"""`mssgw recipient show|pin|forget`: which certificate mail to somebody is encrypted to, and why."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mssgw.cli.account import address_argument
from mssgw.cli.config import loaded
from mssgw.cli.frame import ConfigFile, Family, Json, at, both, failure, output, say
from mssgw.cli.opened import with_store, writing
from mssgw.core.address import Address
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config
from mssgw.flow.lookup import Learned, Lookup
from mssgw.flow.recipients import View, views
from mssgw.smime import files, fitness
from mssgw.smime.directories.files import CertificateFiles
from mssgw.smime.directories.ldap import directories
from mssgw.smime.errors import KeyFileError, SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.protecting import Policy
from mssgw.store import Store, Transaction, audit, certificates
from mssgw.trust import Trust

app = Family(help="Certificates that mail is encrypted to.", no_args_is_help=True)
_Who = Annotated[Address, typer.Argument(metavar="ADDRESS", parser=address_argument)]
ACT = "recipient"


@app.command()
def show(who: _Who, config: ConfigFile, json: Json = False) -> None:
    """Show every certificate that is known for ADDRESS, which one would be used, and why the others are not."""
    settings = loaded(config)
    now, found = with_store(settings, lambda opened: _views(opened, settings, who))
    document = [_described(one, now) for one in found]
    lines = [_line(one) for one in document] or [both(say("recipient.none", address=str(who)))]
    output("\n".join(lines), json=json, document={"address": str(who), "certificates": document})


async def _views(opened: Store, settings: Config, who: Address) -> tuple[datetime, Sequence[View]]:
    """As a worker looks it up, with the revocation lists that the node keeps on disk."""
    now, trust, ldap = opened.clock.now(), Trust.of(settings, opened.clock), directories(settings.ldap)
    await trust.feed.load(trust.validator)
    learned = Learned(opened)
    try:
        lookup = Lookup(CertificateFiles(settings.smime.recipients) if settings.smime.recipients else None, learned, ldap)
        policy = Policy.of("never", "when-possible", settings.smime)
        return now, views(await lookup(who), policy, now, trust.validate)
    finally:
        learned.close()
        for one in ldap:
            one.close()


@app.command()
def pin(
    who: _Who, given: Annotated[Path, typer.Argument(metavar="FILE", help="The certificate.")], config: ConfigFile, json: Json = False
) -> None:
    """Encrypt to this certificate and to no other, whatever files, mail and directories say. Pinned again, it replaces the former."""
    own = _readable(given)

    def write(tx: Transaction) -> None:
        for known in certificates.of(tx, who):
            if known.source == certificates.PINNED:
                certificates.drop(tx, who, known.der)
        certificates.add(tx, who, own.der, certificates.PINNED, tx.now)
        audit.add(tx, f"cli {getpass.getuser()}", ACT, "pinned", recipient=who, certificate=own.fingerprint)

    writing(config, write)
    output(
        both(say("recipient.pinned", address=str(who), subject=own.name)),
        json=json,
        document={"address": str(who), "subject": own.name, "fingerprint": own.fingerprint},
    )


@app.command()
def forget(who: _Who, config: ConfigFile, json: Json = False) -> None:
    """Forget the certificates learned from the mail of ADDRESS, what its program can read, and its pin."""

    def write(tx: Transaction) -> int:
        count = certificates.forget(tx, who)
        audit.add(tx, f"cli {getpass.getuser()}", ACT, "forgotten", recipient=who, certificates=count)
        return count

    count = writing(config, write)
    output(
        both(say("recipient.forgotten", address=str(who), number=count)), json=json, document={"address": str(who), "certificates": count}
    )


def _readable(path: Path) -> Certificate:
    """The one certificate of a file that can be encrypted to."""
    try:
        own = fitness.readers(files.certificates(path, SystemClock().now()))[0]
        own.require_encryption_use()
    except KeyFileError as error:
        raise failure(at(error.place or path, error.message), fault=f"file-{error.problem}") from error
    except SmimeError as error:
        raise failure(at(path, error.message), fault=error.reason, detail=error.where) from error
    return own


def _described(one: View, now: datetime) -> dict[str, Any]:
    own, seen = one.certificate, one.candidate.seen_at
    return {
        "chosen": one.chosen,
        "source": one.candidate.source,
        "age_days": (now - seen).days if seen else None,
        "subject": own.name if own else None,
        "fingerprint": own.fingerprint if own else None,
        "key": own.kind.label if own and one.reader else None,
        "cipher": one.reader.cipher.name if one.reader else None,
        "key_management": one.reader.wrap.name if one.reader else None,
        "not_after": own.not_after.isoformat() if own else None,
        "capabilities": one.candidate.capabilities is not None,
        "refused": one.refused.en if one.refused else None,
        "refused_fr": one.refused.fr if one.refused else None,
        "detail": one.detail or None,
    }


def _line(one: dict[str, Any]) -> str:
    mark, until = "*" if one["chosen"] else "-", (one["not_after"] or "-")[:10]
    how = f"{one['key']}, {one['key_management']}, {one['cipher']}" if one["cipher"] else ""
    age = f"{one['age_days']} d" if one["age_days"] is not None else ""
    why = " / ".join(dict.fromkeys(part for part in (one["refused_fr"], one["refused"]) if part))
    return "  ".join(part for part in (mark, one["source"], age, one["subject"], until, how, why) if part)
