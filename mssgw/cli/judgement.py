"""What is wrong with a configuration, and what is doubtful: for `mssgw config check` and `mssgw init`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mssgw import store
from mssgw.core import owner, unit
from mssgw.core.config import Config, ConfigError
from mssgw.core.errors import Problem
from mssgw.core.texts import message, of_system
from mssgw.node.ports import require_free
from mssgw.node.readiness import require_ready
from mssgw.node.remarks import remarks


def judged(config: Config, path: Path) -> tuple[list[Problem], list[Problem]]:
    """Mistakes and warnings of a file, as the service will meet them: root becomes the owner of the data, for good."""
    mistakes: list[Problem] = []
    starts = unit.runs(path.absolute())
    data = config.node.data
    made = starts and os.geteuid() == 0 and not data.exists() and unit.makes(data)  # by systemd, before the start
    try:
        require_free(config, by_service=False)  # while we are root, who sees which program holds a port
    except ConfigError as error:
        mistakes += error.problems
    if starts and unit.closes(data):
        mistakes.append(("node.data", message("owner.closed-by-unit", path=data)))
    try:
        if not made:
            _become_the_service(config)
    except ConfigError as error:  # nothing that another user sees would say anything about the service
        return error.problems, []
    for each in (require_ready, partial(_require_place, path=path), store.require_answer):
        try:
            each(config)
        except ConfigError as error:
            mistakes = [
                one for one in mistakes if not (one[0].startswith("seal.") and one[0] in dict(error.problems))
            ]  # the later knows more
            mistakes += error.problems
    warnings: list[Problem] = []
    try:
        warnings.extend(remarks(config, datetime.now(UTC), path))
    except OSError as error:  # a file of the data that is not ours: a mistake, named with the others
        if not mistakes:
            mistakes.append(("node.data", message("at", place=error.filename, what=of_system(error))))
    return mistakes, warnings


def _require_place(config: Config, path: Path) -> None:
    if config.dmp and (moved := config.dmp.misplaced(config.node.data, path.parent.absolute())):
        raise ConfigError([("dmp.store", moved)])


def _become_the_service(config: Config) -> None:
    """The service gets its credentials from systemd, and reads all else itself: so do we. Raises ConfigError."""
    data = config.node.data
    missing = os.geteuid() == 0 and not data.exists() and bool(unit.user())
    if missing or owner.differs(data):
        for _, secret in config.secrets():
            if secret.scheme == "credential":
                secret.hold()
    if missing:
        owner.become_service()
    else:
        owner.become(data)
