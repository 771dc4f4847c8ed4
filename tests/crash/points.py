"""The named places of the code where tests kill the process (`mssgw.observe.crash_point`), found in the sources."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The first word of points that no mail passes, and the file whose tests kill there.
OF_VERBS = {
    "bond": "tests/store/test_bond.py",
    "backup": "tests/backup/test_backup.py",
    "restore": "tests/backup/test_backup.py",
    "seal": "tests/cli/test_seal.py",
}


def points_in(folder: Path) -> list[str]:
    """All points below a folder."""
    texts = (path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    return sorted({name for text in texts for name in re.findall(r'crash_point\("([^"]+)"\)', text)})


def is_of_a_verb(point: str) -> bool:
    return point.partition(".")[0] in OF_VERBS


def of_mail(folder: Path) -> list[str]:
    """Those below a folder that a message passes on its way."""
    return [point for point in points_in(folder) if not is_of_a_verb(point)]
