"""`mssgw conformity`: each requirement, its status, where it is fulfilled and where it is tested."""

from __future__ import annotations

from mssgw.cli.frame import Json, output
from mssgw.conformity import Evidence, Group, Requirement, evidence, requirements
from mssgw.core.texts import message

SHOWN = 3  # places of one requirement in the text for people; --json has all


def conformity(json: Json = False) -> None:
    """Each requirement (RFC, ANS), its status, where it is fulfilled and where it is tested."""
    groups = requirements()
    found, tests_there = evidence(groups)
    document = [_row(group, one, found, tests_there) for group in groups for one in group.requirements]
    output(*_text(document), *([] if tests_there else [message("conformity.no-tests")]), json=json, document=document)


def _row(group: Group, one: Requirement, found: Evidence, tests_there: bool) -> dict[str, object]:
    tests = found.tests[one.id] if tests_there else None
    return {
        "group": group.name,
        "id": one.id,
        "title": one.title,
        "status": one.status.value,
        "note": one.note,
        "code": found.code[one.id],
        "tests": tests,
        "tests_with_data": None if tests is None else tuple(place for place in tests if place in found.asking_data),
    }


def _text(document: list[dict[str, object]]) -> list[str]:
    """The titles are those of the documents, in English."""
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
                asking = row["tests_with_data"] if what == "tests" else ()
                assert isinstance(asking, tuple)
                more = " (all need MSSGW_DATA)" if len(asking) == len(places) else f" ({len(asking)} need MSSGW_DATA)" if asking else ""
                more = f" and {len(places) - SHOWN} more{more}" if len(places) > SHOWN else more
                lines.append(f"  {'':<18} {what + ':':<8} {', '.join(places[:SHOWN])}{more}")
    counts = {status: sum(row["status"] == status for row in document) for status in ("done", "partial", "planned", "no")}
    lines += ["", ", ".join(f"{count} {status}" for status, count in counts.items())]
    return lines[1:]
