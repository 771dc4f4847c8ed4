"""What the node's installed systemd unit contains, for verbs that must do as the service does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

NAME: Final = "mssgw.service"

_ROOT: Final = Path("/")
_PLACES: Final = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")


def settings(root: Path = _ROOT) -> Iterator[tuple[str, str]]:
    """(name, value) of each line of the unit and of its drop-ins; nothing when none is installed. `root` stands for /."""
    unit = next((root / one / NAME for one in _PLACES if (root / one / NAME).is_file()), None)
    drop_ins = sorted(path for one in _PLACES for path in (root / one / f"{NAME}.d").glob("*.conf"))
    for file in [unit, *drop_ins] if unit else []:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:  # not readable for us: its content is found elsewhere, or reported as missing
            continue
        for line in lines:
            name, equals, value = line.partition("=")
            if equals and not name.lstrip().startswith(("#", ";")):
                yield name.strip(), value.strip()


def user(root: Path = _ROOT) -> str:
    """The user of the service; "" when no unit is installed."""
    return next((value for name, value in reversed(list(settings(root))) if name == "User"), "")
