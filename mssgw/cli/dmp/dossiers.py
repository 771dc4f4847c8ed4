"""Verbs on a dossier: may I, who else may, lists, administrative data, closing and reopening."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from dmp_connector.client import IdentityQuery, ListMode
from dmp_connector.dossier.service import AdministrativeChange
from dmp_connector.errors import LegacyDisabled, ManagedByMes
from dmp_connector.model import (
    AccessMode,
    AdministrativeData,
    Authorisation,
    AuthorisationStatus,
    Candidate,
    ConsentMeans,
    Dossier,
    DossierState,
    DossierSummary,
    Sex,
)
from dmp_connector.model.creation import MANAGED
from mssgw.cli.dmp.session import (
    As,
    BirthDate,
    Family,
    Given,
    Mode,
    Oid,
    Options,
    PatientIns,
    ReasonText,
    Session,
    SexOption,
    Trace,
    Yes,
    typed,
    verb,
)
from mssgw.cli.frame import ConfigFile, Json, both, inline, labelled, say
from mssgw.cli.usage import WrongUse
from mssgw.core.texts import Message

app = typer.Typer()


def dossier_text(dossier: Dossier) -> str:
    lines = [say("dmp.dossier", state=_state(dossier.state))]
    if dossier.authorisation:
        lines.append(say("dmp.dossier.authorisation", status=_authorisation(dossier.authorisation)))
    if dossier.treating_doctor:
        lines.append(say("dmp.dossier.treating-doctor"))
    if dossier.attached_to_mes:
        lines.append(say("dmp.dossier.mes"))
    if dossier.closure:
        at = dossier.closure.at
        lines.append(say("dmp.dossier.closed", at=f"{at:%d/%m/%Y}" if at else "?", why=dossier.closure.text))
    return both(*lines)


def _state(state: DossierState) -> Message:
    return say(f"dmp.dossier.state.{state}")


def _authorisation(status: AuthorisationStatus) -> Message:
    return say(f"dmp.authorisation.{status}")


def dossier_json(dossier: Dossier) -> dict[str, Any]:
    return {
        "ok": True,
        "state": dossier.state.value,
        "authorisation": dossier.authorisation.value if dossier.authorisation else None,
        "mt": dossier.treating_doctor,
        "rattachement_ens": dossier.attached_to_mes,
        "opposition_bris_de_glace": dossier.oppositions.bris_de_glace,
        "opposition_acces_urgence": dossier.oppositions.centre_15,
    }


@app.command()
def exists(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD0.2: is there a DMP, and am I authorised? Status 1 when there is none."""

    async def act(s: Session) -> None:
        found = await s.dmp.dossiers.exists(s.access)
        there = found.dossier.state is not DossierState.NO_DMP
        document = dossier_json(found.dossier) | {"ok": there, "possible": sorted(a.value for a in found.possible)}
        s.tell(dossier_text(found.dossier), document)
        if not there:
            raise typer.Exit(1)

    verb("exists", Options(config, address, patient, oid, mode, trace=trace, json=json), act)


@app.command()
def authorise(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    remove: Annotated[bool, typer.Option("--remove", help="Give the authorisation back.")] = False,
    mt: Annotated[bool, typer.Option("--mt", help="As treating doctor; with --remove, that role only.")] = False,
    means: Annotated[ConsentMeans, typer.Option("--consent", help="How the patient agreed.")] = ConsentMeans.ORAL,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD0.3: declare that the patient agreed, or give the authorisation back."""

    async def act(s: Session) -> None:
        if remove:
            changed = await s.dmp.dossiers.give_back(s.access, treating_doctor=mt)
        else:
            agreed = s.gesture("dmp.ask.authorise")
            changed = await s.dmp.dossiers.authorise(s.access, agreed=agreed, means=means, treating_doctor=mt)
        changes = _changes(_rights(changed.before), _rights(changed.after))
        s.tell(
            f"{_changes_text(changes)}\n{dossier_text(changed.after)}", dossier_json(changed.after) | {"changes": _changes_json(changes)}
        )

    verb("authorise", Options(config, address, patient, oid, trace=trace, json=json, yes=yes), act)


Value = str | bool | AuthorisationStatus | None
Changes = dict[str, tuple[Value, Value]]
"""By the name of the field: as it was, as it is now."""


def _changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> Changes:
    return {name: (was, after[name]) for name, was in before.items() if was != after[name]}


def _rights(dossier: Dossier) -> dict[str, Value]:
    """What TD0.3 changes."""
    return {"authorisation": dossier.authorisation, "mt": dossier.treating_doctor}


def _modifiable(data: AdministrativeData) -> dict[str, Value]:
    """What TD1.3b changes."""
    names = ("email", "mobile", "phone", "opposition_bris_de_glace", "opposition_acces_urgence")
    return {name: _administrative_json(data)[name] for name in names}


def _changes_text(changes: Changes) -> str:
    """A line for each: what it was and what it is."""
    lines = [say("dmp.change", what=say(f"dmp.field.{name}"), was=_value(was), now=_value(now)) for name, (was, now) in changes.items()]
    return both(*(lines or [say("dmp.unchanged")]))


def _value(one: Value) -> Message | str:
    if isinstance(one, AuthorisationStatus):
        return _authorisation(one)
    if isinstance(one, bool):
        return say("word.yes" if one else "word.no")
    return one or "—"


def _changes_json(changes: Changes) -> dict[str, Any]:
    return {name: {"before": was, "after": now} for name, (was, now) in changes.items()}


@app.command("list")
def list_dossiers(
    config: ConfigFile,
    address: As,
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day, YYYY-MM-DD.")] = None,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD0.4: the dossiers I or my structure are authorised for."""

    async def act(s: Session) -> None:
        rows = await s.dmp.dossiers.mine(s.access, since.date() if since else None)
        s.tell("\n".join(map(_summary_line, rows)) or say("dmp.no-dossier"), {"ok": True, "dossiers": [_summary_json(r) for r in rows]})

    verb("list_dossiers", Options(config, address, trace=trace, json=json), act)


def _summary_line(r: DossierSummary) -> str:
    who = f"{r.ins.value if r.ins else say('dmp.without-ins').fr:15}  {r.family} {r.given}  {r.birth_date or ''}"
    return f"{who}{'  MT' if r.treating_doctor else ''}{'  ' + say('dmp.message-waits').fr if r.message else ''}"


def _summary_json(r: DossierSummary) -> dict[str, Any]:
    return {
        "ins": r.ins.value if r.ins else None,
        "oid": r.ins.oid if r.ins else None,
        "name": r.family,
        "given": r.given,
        "birth_date": r.birth_date,
        "mt": r.treating_doctor,
        "message": r.message,
        "last_access": r.last_access,
        "last_update": r.last_update,
        "last_document": r.last_document,
    }


def _percent(match: int | None) -> str:
    return "    ?" if match is None else f"{match:3d} %"


@app.command()
def search(
    config: ConfigFile,
    address: As,
    family: Annotated[str, typer.Option(help="Birth or used name.")],
    given: Annotated[str, typer.Option(help="Given name.")] = "",
    birth_date: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="YYYY-MM-DD.")] = None,
    sex: Annotated[Sex | None, typer.Option(help="M or F.")] = None,
    postal_code: Annotated[str, typer.Option(help="Postal code.")] = "",
    mode: Mode = AccessMode.CENTRE_15,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD0.5: find a patient without INS; medical regulation (centre 15) only."""

    async def act(s: Session) -> None:
        query = IdentityQuery(family, given, birth_date.date() if birth_date else None, sex, postal_code)
        found = await s.dmp.dossiers.search(s.access, query)
        s.tell("\n".join(map(_candidate_line, found)) or say("dmp.nobody"), {"ok": True, "candidates": [_candidate_json(c) for c in found]})

    verb("search", Options(config, address, mode=mode, trace=trace, json=json), act)


def _candidate_line(c: Candidate) -> str:
    p, opposed = c.patient, f"  {inline(say('dmp.opposed-centre-15'))}" if c.oppositions.centre_15 else ""
    return f"{_percent(c.match)}  {p.ins.value}  {p.birth_name} {p.given_names}  {p.birth_date}{opposed}"


def _candidate_json(c: Candidate) -> dict[str, Any]:
    return {
        "ins": c.patient.ins.value,
        "oid": c.patient.ins.oid,
        "name": c.patient.birth_name,
        "given": c.patient.given_names,
        "birth_date": c.patient.birth_date,
        "match": c.match,
        "opposition_acces_urgence": c.oppositions.centre_15,
    }


@app.command()
def professionals(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    which: Annotated[ListMode, typer.Option(help="Authorised, blocked or all.")] = ListMode.ALL,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD1.6: who the patient authorised or blocked."""

    async def act(s: Session) -> None:
        rows = await s.dmp.dossiers.professionals(s.access, which)
        text = "\n".join(map(_professional_line, rows))
        s.tell(text or say("dmp.no-professional"), {"ok": True, "professionals": [_professional_json(r) for r in rows]})

    verb("professionals", Options(config, address, patient, oid, trace=trace, json=json), act)


def _professional_line(r: Authorisation) -> str:
    parts = (r.id, r.name, ", ".join(s.label or s.code for s in r.specialities), inline(_authorisation(r.status)))
    since = say("dmp.authorised-since", since=r.since).fr if r.since else ""
    return "  ".join(filter(None, (*parts, since, "MT" if r.treating_doctor else "")))


def _professional_json(r: Authorisation) -> dict[str, Any]:
    return {
        "id": r.id,
        "name": r.name,
        "specialities": [{"code": s.code, "label": s.label} for s in r.specialities],
        "status": r.status.value,
        "mt": r.treating_doctor,
        "since": r.since,
        "last_action": r.last_action,
    }


@app.command()
def block(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    professional: Annotated[str, typer.Argument(metavar="PS_IDNAT", help="Whom the patient wants to block.")] = "",
    oid: Oid = "",
    json: Json = False,
) -> None:
    """Blocking a professional is the patient's act: says where it is done, and ends with status 1."""

    async def act(s: Session) -> None:
        await s.dmp.dossiers.block(s.access, professional)

    verb("block", Options(config, address, patient, oid, json=json), act)


@app.command()
def read(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD1.3a: the administrative data."""

    async def act(s: Session) -> None:
        data = await s.dmp.dossiers.read(s.urgent_access())
        s.tell(_administrative_text(data), {"ok": True} | _administrative_json(data))

    known = typed(family, given, birth_date, sex)
    verb("read", Options(config, address, patient, oid, mode, reason, trace, json, yes, known), act)


def _administrative_json(d: AdministrativeData) -> dict[str, Any]:
    return {
        "ins": d.patient.ins.value,
        "name": d.patient.birth_name,
        "given": d.patient.given_names,
        "birth_date": d.patient.birth_date,
        "sex": d.patient.sex.value,
        "street": list(d.street),
        "postal_code": d.postal_code,
        "city": d.city,
        "phone": d.phone,
        "mobile": d.mobile,
        "email": d.email,
        "state": d.state.value,
        "opposition_bris_de_glace": d.oppositions.bris_de_glace,
        "opposition_acces_urgence": d.oppositions.centre_15,
    }


def _administrative_text(d: AdministrativeData) -> str:
    """For people: what there is."""
    p, o = d.patient, d.oppositions
    rows = {
        "ins": p.ins.value,
        "name": p.birth_name,
        "given": p.given_names,
        "birth_date": f"{p.birth_date:%d/%m/%Y}",
        "sex": say(f"dmp.sex.{p.sex}"),
        "address": ", ".join([*d.street, f"{d.postal_code} {d.city}".strip()]).strip(", "),
        "phone": d.phone,
        "mobile": d.mobile,
        "email": d.email,
        "state": _state(d.state),
        "opposition_bris_de_glace": _opposed(o.bris_de_glace),
        "opposition_acces_urgence": _opposed(o.centre_15),
    }
    return labelled(rows, lambda name: say(f"dmp.field.{name}"))


def _opposed(opposed: bool | None) -> Message | None:
    return None if opposed is None else say("word.yes" if opposed else "word.no")


@app.command()
def modify(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    email: Annotated[str | None, typer.Option(help="E-mail address; empty to remove it.")] = None,
    mobile: Annotated[str | None, typer.Option(help="Mobile number; empty to remove it.")] = None,
    phone: Annotated[str | None, typer.Option(help="Telephone number; empty to remove it.")] = None,
    oppose_bris_de_glace: Annotated[
        bool | None, typer.Option("--oppose-bris-de-glace/--accept-bris-de-glace", help="Does the patient oppose bris de glace?")
    ] = None,
    oppose_centre_15: Annotated[
        bool | None, typer.Option("--oppose-centre-15/--accept-centre-15", help="Does the patient oppose access by the SAMU?")
    ] = None,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD1.3b: change the administrative data: at least one of them. An opposition changes at the patient's request only."""
    if all(given is None for given in (email, mobile, phone, oppose_bris_de_glace, oppose_centre_15)):
        raise WrongUse(say("dmp.nothing-to-change"), "--email, --mobile, --phone, --oppose-…")

    async def act(s: Session) -> None:
        wanted = AdministrativeChange(email, mobile, phone, oppose_bris_de_glace, oppose_centre_15)
        changed = await s.dmp.dossiers.modify(s.access, wanted, agreed=s.gesture(_opposing(wanted)))
        changes = _changes(_modifiable(changed.before), _modifiable(changed.after))
        text = f"{both(say('dmp.modified'))}\n{_changes_text(changes)}" if changes else say("dmp.modified.already")
        s.tell(text, {"ok": True, "changed": bool(changes), "changes": _changes_json(changes)})

    verb("modify", Options(config, address, patient, oid, trace=trace, json=json, yes=yes), act)


def _opposing(wanted: AdministrativeChange) -> str:
    return "dmp.ask.oppose" if False not in (wanted.bris_de_glace, wanted.centre_15) else "dmp.ask.lift"


async def managed(s: Session, outcome: Awaitable[Dossier]) -> None:
    """Close or reopen; today's outcome is an outcome, shown clearly, and status 1: what was asked does not hold."""
    try:
        dossier = await outcome
    except (ManagedByMes, LegacyDisabled):
        s.notice(MANAGED)
        raise
    s.tell(dossier_text(dossier), dossier_json(dossier))


@app.command()
def close(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    reason: ReasonText = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD1.4: close a dossier at the patient's request (only where Mon espace santé does not manage it)."""

    async def act(s: Session) -> None:
        await managed(s, s.dmp.dossiers.close(s.access, agreed=s.gesture("dmp.ask.close")))

    verb("close", Options(config, address, patient, oid, reason=reason, trace=trace, json=json, yes=yes), act)


@app.command()
def reopen(
    config: ConfigFile, address: As, patient: PatientIns, oid: Oid = "", yes: Yes = False, trace: Trace = None, json: Json = False
) -> None:
    """TD1.2: reopen a closed dossier with the patient's consent."""

    async def act(s: Session) -> None:
        await managed(s, s.dmp.dossiers.reopen(s.access, agreed=s.gesture("dmp.ask.reopen")))

    verb("reopen", Options(config, address, patient, oid, trace=trace, json=json, yes=yes), act)
