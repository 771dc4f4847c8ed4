"""The public examples of CDA on the simulated DMP: each deposited, found and fetched octet for octet, or refused for a reason that is known.

`docs/dmp.md` has the same list of refusals, with what each means.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dmp_connector.cda import read
from dmp_connector.cda.read import INS_OIDS, NS, text_of
from dmp_connector.client import Call, FindDocuments
from dmp_connector.dossier.consultation import Consultations
from dmp_connector.dossier.deposits import DepositRequest, Deposits
from dmp_connector.dossier.desk import Desk, DeskRules
from dmp_connector.dossier.recognition import Recognition
from dmp_connector.errors import BadDocument
from dmp_connector.model import AvailabilityStatus, Ins
from dmp_connector.simulator import Simulator
from dmp_connector.simulator.config import Person
from dmp_connector.store import DmpStore
from tests.dmp.conftest import RPPS, STORE_KEYS
from tests.dmp.corpus import CORPUS, FOLDERS

PDF, NAMES, HEAD = "PDF/A-1", "only the qualifiers BR and CL are allowed", "setId is missing"
REFUSED = {
    "BIO-CR-BIO_2021.01_CDA-R2-Niveau-1.xml": PDF,
    "DOC_NON_STRUCTURE_CDA-R2-N1.xml": PDF,
    "IMG_CR_IMG_2024.01_CDA-R2-Niveau-1.xml": PDF,
    "TLM-CR_2022.01.xml": PDF,
    "ris-cda-init.xml": PDF,
    "ris-cda-replace.xml": PDF,
    "CR_Bio_CDA_Niv1_v1.XML": PDF,
    "eDISP-MED_2024.01.xml": NAMES,
    "CR_Bio_CDA_Niv3_v1.XML": NAMES,
    "SEGUR_CR-BIO_2023.01_Electrophorese.cda.xml": NAMES,
    "CR_Radio_CDAN1_v1.xml": HEAD,
    "CR_Radio_CDAN1_v1.XML": HEAD,
    "CR_Radio_CDAN1_v2.XML": HEAD,
    "CR_Radio_CDAN1_v2_remplacement.xml": HEAD,
    "DOC00002.xml": HEAD,
}


def person_of(content: bytes) -> Person:
    """The dossier of the document's patient, who has authorised our doctor."""
    document = read(content)
    role = document.find("recordTarget/patientRole")
    ins = next(i for i in role.findall("v:id", NS) if i.get("root") in INS_OIDS)
    names = {(p.tag.rpartition("}")[2], p.get("qualifier")): text_of(p) for p in role.iterfind("v:patient/v:name/*", NS)}
    place_of_birth = role.find("v:patient/v:birthplace/v:place/v:addr/v:county", NS)
    born = role.find("v:patient/v:birthTime", NS).get("value")
    lists = [text_of(p) for p in role.iterfind("v:patient/v:name/v:given", NS) if p.get("qualifier") is None]
    return Person(
        ins=ins.get("extension"),
        oid=ins.get("root"),
        name=names["family", "BR"],
        given=max([*lists, names["given", "BR"]], key=len),
        birth_date=date(int(born[:4]), int(born[4:6]), int(born[6:8])),
        sex=role.find("v:patient/v:administrativeGenderCode", NS).get("code"),
        birth_place=text_of(place_of_birth),
        authorisation="VALIDE",
        authorised=(RPPS,),
    )


@pytest.mark.material(*FOLDERS)
def test_the_list_of_refusals_names_documents_that_are_there():
    assert len(CORPUS) >= 34
    assert {path.name for path in CORPUS} >= REFUSED.keys()


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: f"{p.parent.name}/{p.name}")
async def test_a_document_of_the_corpus_is_deposited_found_and_fetched_or_refused(
    path: Path, dmp, dmp_running, dmp_front, reconfigured, doctor, tmp_path
):
    content = path.read_bytes()  # noqa: ASYNC240 - a file of the test
    front, _ = dmp_front
    refusal = REFUSED.get(path.name)
    person = person_of(content) if refusal is None else None
    front.behind = Simulator(reconfigured(patients=(person,) if person else ()), now=dmp_running.clock)
    store = DmpStore.open(f"sqlite:{tmp_path / 'dmp.db'}", STORE_KEYS)
    desk = Desk(dmp, store, DeskRules(), dmp_running.clock)
    ins = read(content).ins
    call = Call(doctor, Ins(ins.value, ins.oid))
    try:
        if refusal is not None:
            with pytest.raises(BadDocument) as raised:
                await Deposits(desk).deposit(call, DepositRequest(content))
            assert refusal in str(raised.value)
            return
        receipt = await Deposits(desk).deposit(call, DepositRequest(content))
        consultations = Consultations(desk)
        consultation = await consultations.open(await Recognition(desk).of(call))
        found = await consultations.find(consultation, FindDocuments(statuses=(AvailabilityStatus.APPROVED,)))
        assert [entry.unique_id for entry in found] == [receipt.unique_id]
        (got,) = await consultations.retrieve(consultation, [receipt.unique_id])
        assert got.content == content
        assert store.check() == []
    finally:
        store.close()
