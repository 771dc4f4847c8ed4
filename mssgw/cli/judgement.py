"""What is wrong with a configuration, and what is doubtful: for `mssgw config check` and `mssgw init`."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mssgw import store
from mssgw.core import owner
from mssgw.core.config import Config, ConfigError
from mssgw.core.errors import Problem
from mssgw.node.readiness import require_ready
from mssgw.node.remarks import remarks


def judged(config: Config, path: Path) -> tuple[list[Problem], list[Problem]]:
    """Mistakes and warnings of a file, as the service will meet them: root becomes the owner of the data, for good."""
    mistakes: list[Problem] = []
    try:
        _become_the_service(config)
    except ConfigError as error:  # nothing that another user sees would say anything about the service
        return error.problems, []
    for each in (require_ready, partial(_require_place, path=path), store.require_answer):
        try:
            each(config)
        except ConfigError as error:
            mistakes += error.problems
    return mistakes, list(remarks(config, datetime.now(UTC), path))


def _require_place(config: Config, path: Path) -> None:
    if config.dmp and (moved := config.dmp.misplaced(config.node.data, path.parent.absolute())):
        raise ConfigError([("dmp.store", moved)])


def _become_the_service(config: Config) -> None:
    """The service gets its credentials from systemd, and reads all else itself: so do we. Raises ConfigError."""
    if owner.differs(config.node.data):
        for _, secret in config.secrets():
            if secret.scheme == "credential":
                secret.hold()
    owner.become(config.node.data)
