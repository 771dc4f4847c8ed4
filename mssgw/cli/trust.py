"""`mssgw trust verify|match|show|diff|import-anchors|accept|override`.

With `--json` every verb prints one document, also when the answer is no: `{"valid": false, "fault": …, "reason": …}` (frame.py).
"""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bilingual import local, moment
from mssgw.cli.config import loaded
from mssgw.cli.frame import ConfigFile, Family, Json, at, both, failure, inline, labelled, output, run, say, warn
from mssgw.cli.usage import WrongUse
from mssgw.core import owner
from mssgw.core.address import AddressError, Domain, parse_domain
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config
from mssgw.core.config.trust import LIST_SIGNERS
from mssgw.core.errors import ConfigError, MailError
from mssgw.core.texts import Message, message
from mssgw.pki.judgement import Purpose
from mssgw.pki.names import Match
from mssgw.trust import anchors, disk, importing, paths, refresh, space, status, whitelist
from mssgw.trust.faults import Fault, fault_of
from mssgw.trust.fetch import Failure
from mssgw.trust.igc_sante import CHAIN_URL
from mssgw.trust.offline import Court
from mssgw.trust.refresh import State
from mssgw.trust.revocation import Mode
from mssgw.trust.space import TrustSpace
from mssgw.trust.whitelist import Whitelist

app = Family(help="The trust space: the signed whitelist, its authorities, and who is trusted.", no_args_is_help=True)

ListFile = Annotated[Path, typer.Argument(metavar="LIST.xml", exists=True, dir_okay=False, help="A signed whitelist.")]
AnchorsDirectory = Annotated[
    Path,
    typer.Option(
        "--anchors",
        metavar="DIR",
        exists=True,
        help="Every CA certificate in it (PEM or DER) is trusted for this call; a directory or one file.",
    ),
]
At = Annotated[str | None, typer.Option("--at", metavar="ISO8601", help="Judge as of this time; default now.")]
RevocationMode = Annotated[
    Literal["none", "soft", "hard"], typer.Option("--revocation", help="none doesn't look; soft accepts without fresh data; hard refuses.")
]
Signers = Annotated[
    list[str] | None,
    typer.Option("--signer", metavar="CN", help="Subject CN that may sign; repeat. Default: that of --config, else of production."),
]
NodeConfig = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", envvar="MSSGW_CONFIG", help="Judge the signer by the configuration of this node."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")]


@app.command()
def verify(
    file: ListFile,
    anchors_in: AnchorsDirectory,
    at: At = None,
    revocation: RevocationMode = "soft",
    signer: Signers = None,
    config: NodeConfig = None,
    json: Json = False,
) -> None:
    """Verify the signature of a whitelist and the path of its signer."""
    with _judged():
        found = run(_court(anchors_in, revocation).whitelist(file.read_bytes(), _time(at), _signers(signer, config)))
        document = _document(found)
        output(labelled(document, _label), json=json, document=document)


@app.command()
def match(
    file: ListFile,
    domain: str,
    certificate: Annotated[Path, typer.Argument(metavar="CERT.pem", exists=True, dir_okay=False)],
    anchors_in: AnchorsDirectory,
    at: At = None,
    revocation: RevocationMode = "soft",
    signer: Signers = None,
    config: NodeConfig = None,
    server: Annotated[bool, typer.Option("--server", help="Judge it as the server we connect to, not as the client.")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="Compare CN and OU only.")] = False,
    json: Json = False,
) -> None:
    """Say whether the peer with this certificate would be trusted for DOMAIN, and why not."""
    when, purpose = _time(at), Purpose.RELAY_SERVER if server else Purpose.RELAY_CLIENT
    with _judged():
        court = _court(anchors_in, revocation)
        listed = run(court.space(file.read_bytes(), when, _signers(signer, config), Match.LENIENT if lenient else Match.STRICT))
        encoded = _certificate(certificate)
        evidence = run(court.judge(encoded, purpose, when))
        operator = listed.require(_domain(domain), paths.read(encoded).subject)
        document = {"valid": True, "signer_judged": True, "domain": domain, "operator": operator.id, "certificate": asdict(evidence)}
        output(
            both(say("trust.matched", domain=domain, operator=operator.id, revocation=evidence.revocation)), json=json, document=document
        )


@app.command()
def show(
    config: ConfigFile,
    domain: Annotated[str | None, typer.Argument(metavar="[DOMAIN]")] = None,
    at: At = None,
    json: Json = False,
) -> None:
    """Show the list in force, its age, what fails to be fetched, what is known of revocation, and the operators of a domain."""
    settings, now = loaded(config), _time(at) or SystemClock().now()
    known = _words(_directory(settings), now) | _fetching(settings, now)  # wanted most when there is no list to trust
    with _judged(known):
        listed, state = _in_force(settings, now, known, told=not json)
        age = now - state.checked_at
        document: dict[str, Any] = {
            "valid": True,
            "generated_at": state.generated_at.isoformat(),
            "entries": listed.entries,
            "domains": len(listed.domains),
            "operators": len(listed.operators),
            "sha256": listed.sha256,
            "checked_at": state.checked_at.isoformat(),
            "age_seconds": round(age.total_seconds()),
            "adopted_at": state.adopted_at.isoformat(),
            "source": state.url,
            "unreadable": [f"{what}: {why}" for what, why in listed.unreadable],
        }
        if age > timedelta(hours=settings.trust.warn_age_hours):
            old = say("trust.show.old-list", hours=round(age.total_seconds() / 3600), most=settings.trust.max_age_hours)
            known["problems"].append({"fr": old.fr, "en": old.en})
        document |= known
        if domain:
            operators = listed.require_listed(_domain(domain))
            entry = listed.descriptions[_domain(domain)]
            document |= {
                "domain": domain,
                "operators_of_domain": [each.id for each in operators],
                "description": entry.description,
                "responsible": entry.responsible,
                "support": entry.support,
                "updated": entry.updated,
            }
        output(_shown(document), json=json, document=document)


@app.command()
def diff(
    old: ListFile,
    new: ListFile,
    json: Json = False,
    anchors_in: Annotated[
        Path | None, typer.Option("--anchors", metavar="DIR", exists=True, help="Judge the signers too; without it, signatures only.")
    ] = None,
    signer: Signers = None,
    config: NodeConfig = None,
) -> None:
    """Say what NEW changes: domains, and operators of domains that stay."""
    with _judged():
        before, after = (_space(file, anchors_in, _signers(signer, config)) for file in (old, new))
        changes = space.diff(before, after)
        lines = [f"+ {each}" for each in changes.added] + [f"- {each}" for each in changes.removed]
        lines += [
            f"{sign} {domain}  {operator}"
            for sign, pairs in (("+", changes.operators_added), ("-", changes.operators_removed))
            for domain, operator in pairs
        ]
        document = {
            "valid": True,
            "signer_judged": bool(anchors_in),
            "old": before.generated_at.isoformat(),
            "new": after.generated_at.isoformat(),
            **asdict(changes),
        }
        if not anchors_in:
            warn(say("trust.signers-not-judged"))
        output("\n".join(lines) or both(say("trust.no-difference")), json=json, document=document)


@app.command("import-anchors")
def import_anchors(
    config: ConfigFile,
    json: Json = False,
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE|URL]...", help="PEM, DER or p7b; default the official address.")
    ] = None,
) -> None:
    """Bring authorities into the directory of anchors. Only pinned fingerprints are taken, wherever they come from."""
    settings = loaded(config).trust
    found = [(source, importing.octets_of(source)) for source in sources or [CHAIN_URL]]
    imported = importing.take(found, settings.anchors, settings.pki, settings.anchor_fingerprints)
    document = {
        "valid": bool(imported.taken) and not imported.refused,
        "refused": [str(one) for one in imported.refused],
        "refused_fr": [one.fr for one in imported.refused],
        "imported": [{"subject": str(each.subject), "sha256": each.fingerprint} for each in imported.taken],
    }
    output(*(say("trust.imported", authority=each.subject) for each in imported.taken), json=json, document=document)
    if not document["valid"]:
        raise failure(*(imported.refused or [say("trust.nothing-imported")]), fault="not-imported")


@app.command()
def accept(config: ConfigFile, reason: Reason, json: Json = False) -> None:
    """Put the list in force that waits because it lost many domains."""
    who = getpass.getuser()  # not whom we become
    directory = _directory(loaded(config))
    try:
        pending = refresh.accept(directory, who, reason, SystemClock().now())
    except FileNotFoundError as error:
        raise failure(say("trust.nothing-waits"), fault="nothing-waits") from error
    document = {"generated_at": pending.generated_at.isoformat(), "sha256": pending.sha256, "lost": pending.lost, "total": pending.total}
    accepted = say("trust.accepted", date=local(pending.generated_at).date(), lost=pending.lost, total=pending.total)
    output(both(accepted), json=json, document=document)


@app.command()
def override(
    config: ConfigFile,
    reason: Reason,
    json: Json = False,
    hours: Annotated[int, typer.Option(min=0, max=720, help="For how long; 0 takes it back.")] = 24,
) -> None:
    """Go on trusting the list in force although it is too old."""
    who = getpass.getuser()  # not whom we become
    word = refresh.override(_directory(loaded(config), make=True), who, reason, SystemClock().now(), hours)
    overridden = say("trust.override", until=word.until) if hours else say("trust.override.none")
    output(both(overridden), json=json, document={"in_force": hours > 0, "until": word.until if hours else None, "who": word.who})


# -- shared --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _judged(known: dict[str, Any] | None = None) -> Iterator[None]:
    """A refusal becomes its sentence in both languages, and the exit status 1. `known`: what `--json` shows beside it."""
    try:
        yield
    except MailError as error:
        fault = fault_of(error)
        raise failure(error.message, fault=fault.value if fault else "other", detail=error.detail, known=known) from error


def _label(name: str) -> Message:
    return say(f"trust.field.{name}")


def _court(directory: Path, mode: Mode) -> Court:
    try:
        return Court.of(directory, mode)
    except ConfigError as error:
        raise failure(*(what for _, what in error.problems), fault="anchors") from error


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(message("trust.not-a-time", text=text), "--at") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _domain(text: str) -> Domain:
    try:
        return parse_domain(text)
    except AddressError as error:
        raise WrongUse(error.message, "DOMAIN") from error


def _certificate(path: Path) -> bytes:
    try:
        return anchors.read_bundle(path.read_bytes())[0].der
    except (ValueError, IndexError):
        raise failure(at(path, say("trust.no-certificate")), fault="no-certificate") from None


def _document(found: Whitelist) -> dict[str, Any]:
    listed = TrustSpace.of(found)
    return {
        "valid": True,
        "signer_judged": True,
        "generated_at": f"{found.generated_at:%Y-%m-%dT%H:%M:%SZ}",
        "entries": len(found.entries),
        "domains": len(listed.domains),
        "operators": len(listed.operators),
        "signer": found.signer.subject,
        "signer_sha256": found.signer.fingerprint,
        "issuer": found.signer.issuer,
        "revocation": found.signer.revocation,
        "sha256": found.sha256,
        "unreadable": [f"{what}: {why}" for what, why in listed.unreadable],
    }


def _signers(named: list[str] | None, config: Path | None) -> tuple[str, ...]:
    """Who may sign a list: as the node judges it, or a node of production."""
    return tuple(named or ()) or (loaded(config).trust.signer_common_names if config else LIST_SIGNERS)


def _space(file: Path, directory: Path | None, signers: tuple[str, ...]) -> TrustSpace:
    octets = file.read_bytes()
    if directory:
        return run(_court(directory, "none").space(octets, None, signers))
    unjudged = whitelist.open_signed(octets)
    return space.build(unjudged.entries, unjudged.generated_at, unjudged.sha256)


def _directory(config: Config, *, make: bool = False) -> Path:
    """Of the lists, which belong to the owner of the data."""
    if make:
        owner.make(config.node.data)
    owner.become(config.node.data)
    return config.node.data / "trust"


def _words(directory: Path, now: datetime) -> dict[str, Any]:
    """What waits for an operator's word, and what an operator said."""
    found: dict[str, Any] = {}
    if pending := disk.read_json(directory / "pending.json", refresh.Pending):
        found["pending"] = say("trust.show.pending", date=pending.generated_at.date(), lost=pending.lost, total=pending.total)
    word = disk.read_json(directory / "override.json", refresh.Word)
    if word and word.until and word.until > now:
        found["override"] = say("trust.show.override", who=word.who, until=word.until, reason=word.reason)
    return found


def _fetching(config: Config, now: datetime) -> dict[str, Any]:
    """What the background last met: addresses that fail, CRLs and OCSP answers with their ages, and what to worry about."""
    directory = _directory(config)
    failing, held = status.failures(directory), status.answers(directory)
    pinned = _pinned_or_none(config)
    crls = status.crls(directory, pinned) if pinned else ()
    labels = {anchor.fingerprint: anchor.certificate.label for anchor in pinned.every} if pinned else {}
    left_out = pinned.left_out if pinned else ()
    problems = [say("trust.show.left-out", authority=name, why=why) for name, why in left_out]
    problems += [
        say(
            "trust.show.failing",
            url=one.url,
            failures=one.failures,
            at=one.at,
            problem=one.problem,
            next=one.next_try,
        )
        for one in failing
    ]
    problems += [say("trust.show.stale-crl", authority=authority, end=crl.next_update) for authority, crl in crls if now > crl.next_update]
    return {
        "problems": [{"fr": one.fr, "en": one.en} for one in problems],
        "left_out": [{"authority": name, "why": why} for name, why in left_out],
        "failing": [
            {
                "url": one.url,
                "failures": one.failures,
                "problem": one.problem,
                "at": one.at.isoformat(),
                "next_try": one.next_try.isoformat(),
            }
            for one in failing
        ],
        "crls": [
            {"authority": authority, "number": crl.number, "revoked": len(crl.revoked)} | _ages(crl.this_update, crl.next_update, now)
            for authority, crl in crls
        ],
        "ocsp": [
            {"authority": labels.get(one.issuer, one.issuer), "serial": one.serial, "revoked": one.revoked}
            | _ages(one.this_update, one.next_update, now)
            for one in held
        ],
    }


def _pinned_or_none(config: Config) -> anchors.Anchors | None:
    try:
        return _pinned(config)
    except ConfigError:  # told by whoever judges the list
        return None


def _ages(this_update: datetime, next_update: datetime, now: datetime) -> dict[str, Any]:
    return {
        "this_update": this_update.isoformat(),
        "next_update": next_update.isoformat(),
        "age_seconds": round((now - this_update).total_seconds()),
        "stale": now > next_update,
    }


def _line(one: Failure) -> str:
    return inline(say("trust.show.failure", url=one.url, problem=one.problem, at=one.at, next=one.next_try))


def _shown(document: dict[str, Any]) -> str:
    """For people: what to worry about first, in both languages; then a line for each value."""
    plain = document | {"problems": [], "failing": [], "left_out": []}
    for name in ("crls", "ocsp"):
        plain[name] = [f"{one['authority']}: {inline(_answer(one))}" for one in document[name]]
    for name in plain.keys() & {"generated_at", "adopted_at", "checked_at"}:
        plain[name] = moment(datetime.fromisoformat(plain[name]), "en")
    problems = [one[language] for one in document["problems"] for language in ("fr", "en")]
    return "\n".join([*problems, labelled(plain, _label)])


def _answer(one: dict[str, Any]) -> Message:
    """What is held of an authority: a revocation list, or the answer for one certificate."""
    dates = {name: moment(datetime.fromisoformat(one[name]), "en") for name in ("this_update", "next_update")}
    stale = say("trust.show.stale") if one["stale"] else ""
    if "number" in one:
        return say("trust.show.crl-line", number=one["number"], start=dates["this_update"], end=dates["next_update"], stale=stale)
    return say("trust.show.ocsp-line", serial=one["serial"], start=dates["this_update"], end=dates["next_update"], stale=stale)


def _pinned(config: Config) -> anchors.Anchors:
    return anchors.load(config.trust.anchors, config.trust.pki, config.trust.anchor_fingerprints)


def _in_force(config: Config, now: datetime, known: dict[str, Any], *, told: bool) -> tuple[TrustSpace, State]:
    """What a worker would load from disk. Signer and age are judged as there, revocation as it stands on disk not at all.

    A refusal shows what is `known` beside it: in the document of `--json`, and to people (`told`).
    """
    directory = _directory(config)
    state, octets = disk.read_json(directory / "list.json", State), disk.read(directory / "list.xml")
    if state is None or octets is None:
        lines = "; ".join(_line(one) for one in status.failures(directory))
        raise failure(say("trust.show.no-list"), fault=Fault.NO_LIST, detail=lines, known=known)
    court = Court.of(config.trust.anchors, "none")
    court.validator.anchors = _pinned(config)
    found = run(court.whitelist(octets, state.adopted_at, config.trust.signer_common_names))
    age = now - state.checked_at
    if age.total_seconds() > config.trust.max_age_hours * 3600 and "override" not in known:
        if told:
            sys.stdout.write(_shown(known) + "\n")
        raise failure(
            say("trust.show.too-old", at=state.checked_at, most=config.trust.max_age_hours),
            fault=Fault.LIST_TOO_OLD,
            known=known,
        )
    return TrustSpace.of(found, Match(config.trust.match)), state
