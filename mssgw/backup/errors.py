"""The errors about a backup."""

from __future__ import annotations

from mssgw.core.texts import message


class BackupError(Exception):
    """Nothing was changed but what the sentence names. `fault` is the word for programs."""

    def __init__(self, fault: str, **values: object) -> None:
        self.fault, self.message = f"backup.{fault}", message(f"backup.{fault}", **values)
        super().__init__(str(self.message))
