"""The DMP client: one method per transaction, in the guide's order and names.

    async with Dmp(settings, signer) as dmp:
        dossier = await dmp.td02_existence(Call(actor, ins))

caller      what every call has in common: VIHF, envelope, exchange, faults
dossiers    TD0.2 to TD1.6
documents   TD2.1 to TD3.3

The client decides nothing about consent or access: the dossier service and the server do.
"""

from dmp_connector.client.documents import Documents, Retrieved
from dmp_connector.client.dossiers import Dossiers
from dmp_connector.ebxml import FindDocuments
from dmp_connector.habilitations import ListBy, ListMode, OtpChannel, PatientAccess
from dmp_connector.hl7v3.write import CLOSING_REQUESTED
from dmp_connector.model.dossier import IdentityQuery
from dmp_connector.proof.vihf import Call


class Dmp(Dossiers, Documents):
    """All transactions of one DMP for one signature key. Safe to use from several tasks."""


__all__ = [
    "CLOSING_REQUESTED",
    "Call",
    "Dmp",
    "FindDocuments",
    "IdentityQuery",
    "ListBy",
    "ListMode",
    "OtpChannel",
    "PatientAccess",
    "Retrieved",
]
