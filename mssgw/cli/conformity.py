"""`mssgw conformity`: each requirement, its status, where it is fulfilled and where it is tested."""

from __future__ import annotations

from mssgw.cli.frame import Json, output
from mssgw.conformity import Group, Requirement, evidence, requirements

SHOWN = 3  # places of one requirement in the text for people; --json has all


def conformity(json: Json = False) -> None:
    """Each requirement (RFC, ANS), its status, where it is fulfilled and where it is tested."""
    groups = requirements()
    found, tests_there = evidence(groups)
    document = [
        _row(group, one, found.code[one.id], found.tests[one.id] if tests_there else None) for group in groups for one in group.requirements
    ]
    output("\n".join(_text(document, tests_there)), json=json, document=document)


def _row(group: Group, one: Requirement, code: tuple[str, ...], tests: tuple[str, ...] | None) -> dict[str, object]:
    return {
        "group": group.name,
        "id": one.id,
        "title": one.title,
        "status": one.status.value,
        "note": one.note,
        "code": code,
        "tests": tests,
    }


def _text(document: list[dict[str, object]], tests_there: bool) -> list[str]:
    lines, group = [], None
    for row in document:
        if row["group"] != group:
            group = row["group"]
            lines += ["", str(group)]
        lines.append(f"  {row['id']:<18} {row['status']:<8} {row['title']}")
        lines += [f"  {'':<18} {'':<8} ({row['note']})"] if row["note"] else []
        for what in ("code", "tests"):
            if places := row[what]:
                assert isinstance(places, tuple)
                more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
                lines.append(f"  {'':<18} {what + ':':<8} {', '.join(places[:SHOWN])}{more}")
    counts = {status: sum(row["status"] == status for row in document) for status in ("done", "partial", "planned", "no")}
    lines += ["", ", ".join(f"{count} {status}" for status, count in counts.items())]
    return lines[1:] + ([] if tests_there else ["The tests are not installed here: where each is tested is shown in a source tree only."])
