"""The places of test data by others: what may be redistributed in `tests/data/`, the rest beside the project or at MSSGW_DATA.

A path is relative and means the same in both places: `crypto/rfc4134`, `dmp/tlsi-ins`. `tests/data/SOURCES.md` has the
source and licence of each folder; `mssgw conformity` shows which evidence needs the rest.
"""

from __future__ import annotations

import os
from pathlib import Path

OURS = Path(__file__).with_name("data")
BESIDE = Path(os.environ.get("MSSGW_DATA") or Path(__file__).parents[2] / "shared" / "data")


def place(path: str) -> Path:
    """Where a file or folder is, or would be. A test that needs it has the mark `material`."""
    kept = OURS / path
    return kept if kept.exists() else BESIDE / path


def files(folder: str, pattern: str = "*") -> list[Path]:
    """The files of a folder in order, to make parameters of; empty when the folder is not there."""
    return sorted(path for path in place(folder).rglob(pattern) if path.is_file())
