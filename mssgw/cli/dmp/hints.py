"""Which command or option mends what `dmp_connector` refuses: the library does not know the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dmp_connector.card.readers import DriverMissing
from dmp_connector.dossier.recognition import Blind
from dmp_connector.dossier.service import HiddenOtherwise, PatientsAct
from dmp_connector.errors import ConsentExpired, ConsentMissing, DmpError, DossierClosed, DossierExists, NotConfirmed, ReasonMissing
from dmp_connector.model.creation import CreationUnanswered, OtherPatient
from mssgw.core.texts import PACKAGE, Message, message
from mssgw.dossier.creations import AccountNotAsked

_HINTS: Final[tuple[tuple[type[DmpError], Callable[[DmpError], Message]], ...]] = (
    (NotConfirmed, lambda _: message("dmp.hint.yes")),
    (ReasonMissing, lambda _: message("dmp.hint.reason")),
    (ConsentMissing, lambda _: message("dmp.hint.authorise")),
    (ConsentExpired, lambda _: message("dmp.hint.authorise")),
    (DossierExists, lambda _: message("dmp.hint.exists")),
    (DossierClosed, lambda _: message("dmp.hint.reopen")),
    (PatientsAct, lambda _: message("dmp.hint.remove")),
    (OtherPatient, lambda _: message("dmp.hint.other-creation")),
    (CreationUnanswered, lambda error: message("dmp.hint.resume", id=getattr(error, "creation", ""))),
    (HiddenOtherwise, lambda error: message("dmp.hint.to", to=getattr(error, "to", ""))),
    (DriverMissing, lambda _: message("dmp.hint.card")),
)


def hint_of(error: DmpError) -> Message | None:
    """What to type next; None where the sentence of the error, or this program's own sentence in it, says all there is to do."""
    if isinstance(error, Blind):
        return message("dmp.hint.traits")
    if isinstance(error, AccountNotAsked):
        return message("dmp.hint.account")
    if error.detail is not None and error.detail.package == PACKAGE:
        return None
    return next((hint(error) for kind, hint in _HINTS if isinstance(error, kind)), None)
