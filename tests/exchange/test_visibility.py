"""Each cell of the matrix (docs/reference/dmp.md 5.1), and whose a citizen's address is."""

from __future__ import annotations

import itertools

import pytest

from dmp_connector.model import Ins, Visibility
from mssgw.core.address import Address, Domain
from mssgw.exchange.errors import NotSendable
from mssgw.exchange.visibility import Reader, ins_of, readers_of, require_own_mailbox

CITIZENS = Domain("patient.mssante.fr")
INS = Ins("279035121518989", "1.2.250.1.213.1.4.10")
BOTH, DOCTORS, PATIENT, NOBODY = frozenset(Reader), frozenset({Reader.PROFESSIONAL}), frozenset({Reader.PATIENT}), frozenset()
MATRIX = {  # masked, hidden from the patient, hidden from representatives, secret connection
    (False, False, False, False): BOTH,
    (False, False, False, True): BOTH,
    (False, True, False, False): DOCTORS,
    (False, True, False, True): DOCTORS,
    (True, False, False, False): PATIENT,
    (True, False, True, False): PATIENT,
    (False, False, True, False): PATIENT,
}


@pytest.mark.parametrize("cell", list(itertools.product([False, True], repeat=4)))
def test_each_cell_of_the_matrix(cell):
    masked, patient, representatives, secret = cell
    given = {
        Visibility.MASKED: masked,
        Visibility.HIDDEN_FROM_PATIENT: patient,
        Visibility.HIDDEN_FROM_REPRESENTATIVES: representatives,
    }
    found = readers_of(frozenset(one for one, holds in given.items() if holds), secret=secret)
    assert found == MATRIX.get(cell, NOBODY)


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("279035121518989@patient.mssante.fr", None),
        ("27707279035121518989@patient.mssante.fr", None),
        ("paul.durand@beta.mssante.fr", None),
        ("146026322000196@patient.mssante.fr", "is not the patient of these documents"),
        ("reponse.automatique-test@patient.mssante.fr", "does not have the form of an INS"),
        ("27903512151898@patient.mssante.fr", "does not have the form of an INS"),
    ],
)
def test_a_citizen_gets_their_own_documents_only(address, refused):
    recipients = [Address.parse("luc.bernard@alpha.mssante.fr"), Address.parse(address)]
    if refused is None:
        require_own_mailbox(recipients, INS, CITIZENS)
        return
    with pytest.raises(NotSendable) as error:
        require_own_mailbox(recipients, INS, CITIZENS)
    assert refused in error.value.message.en
    assert "146026322000196" not in error.value.message.en


def test_a_number_of_corsica_is_one():
    assert ins_of(Address.parse("279022a12345678@patient.mssante.fr")) == "279022A12345678"
