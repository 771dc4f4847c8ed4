"""`mssgw dmp audit`: who did what in whose dossier, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dmp_connector.model import Ins
from dmp_connector.model.audit import AuditRecord
from mssgw.cli.dmp.session import As, Oid, Options, Session, verb
from mssgw.cli.frame import ConfigFile, Json, say

app = typer.Typer()

_INDENT = " " * 21


@app.command()
def audit(
    config: ConfigFile,
    address: As,
    patient: Annotated[str, typer.Option("--patient", metavar="INS", help="Only this patient.")] = "",
    oid: Oid = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest rows, at most so many.")] = 200,
    json: Json = False,
) -> None:
    """The audit trail of this connector, oldest first. The INS is shown whole for acts of one's own and for --patient."""

    async def act(s: Session) -> None:
        asked = Ins.typed(patient, s.oid) if patient else None
        rows = s.desk.store.audit(patient=asked.cx if asked else None, limit=limit)
        shown = [(r, asked is not None or r.who == s.actor.practitioner.id) for r in rows]
        text = "\n".join(line for r, whole in shown for line in _lines(r, whole=whole))
        s.tell(text or say("dmp.no-trace"), {"ok": True, "audit": [_json(r, whole=whole) for r, whole in shown]})

    verb(Options(config, address, oid=oid, json=json), act)


def whose(record: AuditRecord, *, whole: bool) -> str:
    """The INS of a row; of another professional's act only its end, enough to tell two patients apart."""
    value = Ins.read_cx(record.patient).value if record.patient else ""
    return value if whole or not value else "•" * (len(value) - 4) + value[-4:]


def _lines(r: AuditRecord, *, whole: bool) -> list[str]:
    reason = f"  motif : {r.reason}" if r.reason else ""
    lines = [f"{r.at.astimezone():%Y-%m-%d %H:%M:%S}  {r.who}  {whose(r, whole=whole):15}  {r.mode:14} {r.what:22} {r.outcome}{reason}"]
    lines += [f"{_INDENT}{'✔' if holds else '✘'} {name} : {text}" for name, holds, text in r.conditions]
    if r.facts:
        lines.append(_INDENT + ", ".join(f"{name}={value}" for name, value in r.facts))
    return lines


def _json(r: AuditRecord, *, whole: bool) -> dict[str, Any]:
    return {
        "at": r.at.isoformat(),
        "who": r.who,
        "structure": r.structure,
        "patient": {"ins": whose(r, whole=whole), "oid": Ins.read_cx(r.patient).oid, "masked": not whole} if r.patient else None,
        "mode": r.mode,
        "what": r.what,
        "outcome": r.outcome,
        "reason": r.reason,
        "consultation": r.consultation,
        "conditions": [list(c) for c in r.conditions],
        "facts": dict(r.facts),
    }
