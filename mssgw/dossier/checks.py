"""The checks of documents that are filed: the validator of a configuration, and the schematron process it starts."""

from __future__ import annotations

import threading

from dmp_connector.validate import Validator
from mssgw.core.config.dmp import Dmp as DmpTable


class Checks:
    """Made when something is filed: a kit that is not there hinders nothing else. Safe for threads; several sessions may share it."""

    def __init__(self, table: DmpTable) -> None:
        self._table, self._lock = table, threading.Lock()
        self._made: Validator | None = None

    @property
    def validator(self) -> Validator:
        """Raises BadSettings: the kit cannot be used."""
        table = self._table
        with self._lock:
            if self._made is None:
                self._made = Validator(table.validation_kit, models=table.validation_models, max_pdf=table.max_pdf_octets)
            return self._made

    def close(self) -> None:
        """End the schematron process, when one was started; what is checked next starts another. Blocks."""
        with self._lock:
            made = self._made
        if made is not None:
            made.close()
