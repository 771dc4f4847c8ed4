"""Why documents are not put into a mail, or not taken out of one."""

from __future__ import annotations

from dmp_connector.errors import DmpError
from mssgw.core.texts import Message


class NotSendable(DmpError):
    """Nothing leaves. `message`: which document or recipient, and why, without the names of patients."""

    def __init__(self, said: Message) -> None:
        super().__init__(said)

    @property
    def message(self) -> Message:
        return self.detail or super().message
