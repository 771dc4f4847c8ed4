"""The audit trail: who did what in whose dossier, and the outcome."""

from __future__ import annotations

import asyncio

from dmp_connector.model import Ins
from dmp_connector.model.audit import AuditRecord
from mssgw.dossier.session import Session
from mssgw.dossier.values import Access, AuditRow


class Trail:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def audit(self, access: Access, *, limit: int = 200) -> tuple[AuditRow, ...]:
        """The newest rows, oldest first: of `access.patient`, or of everybody. Raises BadIns.

        The INS stands whole in acts of one's own and of the patient that was asked for.
        """
        async with self._session.attempt("audit", access):
            asked = self._session.ins(access) if access.patient else None
            rows = await asyncio.to_thread(self._session.desk.store.audit, patient=asked.cx if asked else None, limit=limit)
            mine = self._session.actor.practitioner.id
            return tuple(_row(r, whole=asked is not None or r.who == mine) for r in rows)


def _row(record: AuditRecord, *, whole: bool) -> AuditRow:
    if not record.patient:
        return AuditRow(record, "", "", masked=False)
    ins = Ins.read_cx(record.patient)
    shown = ins.value if whole else "•" * (len(ins.value) - 4) + ins.value[-4:]  # enough to distinguish two patients
    return AuditRow(record, shown, ins.oid, masked=not whole)
