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


def values(wanted: str, root: Path = _ROOT) -> list[str]:
    """All values of a setting that may be given several times; an empty one takes back those before (systemd.exec(5))."""
    found: list[str] = []
    for name, value in settings(root):
        if name == wanted:
            found = [*found, value] if value else []
    return found


def user(root: Path = _ROOT) -> str:
    """The user of the service; "" when no unit is installed."""
    return (values("User", root) or [""])[-1]


def runs(configuration: Path, root: Path = _ROOT) -> bool:
    """Whether the installed service is started with this configuration."""
    return any(str(configuration) in value.replace("=", " ").split() for value in values("ExecStart", root))


def makes(directory: Path, root: Path = _ROOT) -> bool:
    """Whether systemd makes this directory for the service, and lets it write there."""
    return directory in {Path("/var/lib", one) for value in values("StateDirectory", root) for one in value.split()}


def closes(directory: Path, root: Path = _ROOT) -> bool:
    """Whether the unit keeps the service from writing in this directory, whoever owns it (ProtectSystem=strict)."""
    if values("ProtectSystem", root)[-1:] != ["strict"]:
        return False
    opened = [Path(one.lstrip("-+")) for value in values("ReadWritePaths", root) for one in value.split()]
    above = (directory, *directory.parents)
    return not any(one in opened or makes(one, root) for one in above)
