"""The names of the PDF files (ECO.2.1.6) and the fields X-MSS-* (ECO.2.4.1 to 2.4.3) of a mail with documents."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bilingual import local
from dmp_connector.model import DocumentEntry, Patient
from dmp_connector.model.documents import NO_MOMENT

ARCHIVE = "IHE_XDM.ZIP"
CORRECTED = "[Annule et remplace] "  # AMBU.MSS/va1.02
_LABEL = 80  # characters
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069/\\:*?"<>|_]+')


def pdf_names(entries: Sequence[DocumentEntry], patient: Patient) -> list[str]:
    """One for each document: `20220531_CR d'imagerie médicale_CORSE_FIGATELLIX.pdf`; the second of one name gets a number."""
    given: list[str] = []
    for entry in entries:
        name, count = _stem(entry, patient), 1
        while f"{name}{f' ({count})' if count > 1 else ''}.pdf" in given:
            count += 1
        given.append(f"{name}{f' ({count})' if count > 1 else ''}.pdf")
    return given


def _stem(entry: DocumentEntry, patient: Patient) -> str:
    moment = entry.service_start or entry.created
    day = f"{local(moment.at):%Y%m%d}" if moment != NO_MOMENT else "00000000"
    label = _plain(entry.type.label or entry.title)[:_LABEL].rstrip(" .")
    return "_".join((day, label, _plain(patient.birth_name).upper(), _plain(patient.first_given)))


def _plain(text: str) -> str:
    """Without what a file name must not have; the underscore parts the name."""
    return " ".join(_UNSAFE.sub(" ", text).split())


def fields(entries: Sequence[DocumentEntry], *, qualified: bool, nil: str, final: bool = False) -> list[tuple[str, str]]:
    """The X-MSS-* fields. `nil`: the product's reference, "" when it has none; `final`: the patient is not to answer."""
    codes = ",".join(dict.fromkeys(entry.type.code for entry in entries if entry.type.code))
    found = [("X-MSS-CODECDA", codes), ("X-MSS-INS", "O" if qualified else "N"), ("X-MSS-NIL", nil), ("X-MSS-MES", "FIN" if final else "")]
    return [(name, value) for name, value in found if value]
