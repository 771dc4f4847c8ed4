"""`mssgw dmp audit`: who did what in whose dossier, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bilingual import local
from mssgw.cli.dmp.session import As, Oid, Options, Session, verb
from mssgw.cli.frame import ConfigFile, Json, say
from mssgw.dossier.values import AuditRow

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
        rows = await s.dmp.trail.audit(s.access, limit=limit)
        s.tell(
            "\n".join(line for row in rows for line in _lines(row)) or say("dmp.no-trace"), {"ok": True, "audit": list(map(_json, rows))}
        )

    verb("audit", Options(config, address, patient, oid, json=json), act)


def _lines(row: AuditRow) -> list[str]:
    r = row.record
    reason = f"  motif : {r.reason}" if r.reason else ""
    lines = [f"{local(r.at):%Y-%m-%d %H:%M:%S}  {r.who}  {row.ins:15}  {r.mode:14} {r.what:22} {r.outcome}{reason}"]
    lines += [f"{_INDENT}{'✔' if holds else '✘'} {name} : {text}" for name, holds, text in r.conditions]
    if r.facts:
        lines.append(_INDENT + ", ".join(f"{name}={value}" for name, value in r.facts))
    return lines


def _json(row: AuditRow) -> dict[str, Any]:
    r = row.record
    return {
        "at": r.at.isoformat(),
        "who": r.who,
        "structure": r.structure,
        "patient": {"ins": row.ins, "oid": row.oid, "masked": row.masked} if row.ins else None,
        "mode": r.mode,
        "what": r.what,
        "outcome": r.outcome,
        "reason": r.reason,
        "consultation": r.consultation,
        "conditions": [list(c) for c in r.conditions],
        "facts": dict(r.facts),
    }
