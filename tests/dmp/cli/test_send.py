"""`mssgw dmp send -o FILE`: a mail with documents, to be sent by any program."""

from __future__ import annotations

import email
import email.policy

import pytest

from dmp_connector import xdm

printed = pytest.mark.peer("/usr/lib/*/libpangoft2-1.0.so.0")
TO = "paul.durand@beta.mssante.test"


@pytest.fixture
def listed(mssgw):
    return mssgw.done("find", patient="PATIENT")["documents"]


@printed
def test_a_mail_is_written_with_the_documents_of_the_last_find(mssgw, listed, tmp_path):
    target = tmp_path / "lettre.eml"
    words = tmp_path / "mots.txt"
    words.write_text("Cher confrère,\n\nÀ bientôt.\n")
    done = mssgw.done("send", "1", "--to", TO, "--text", str(words), "-o", str(target), patient="PATIENT")
    assert (done["file"], done["trace"], done["to"]) == (str(target), None, [TO])
    assert [one["unique_id"] for one in done["documents"]] == [listed[0]["unique_id"]]
    assert target.stat().st_size == done["bytes"]
    message = email.message_from_bytes(target.read_bytes(), policy=email.policy.default)
    assert message["Subject"].startswith("XDM/1.0/DDM+")
    assert "Cher confrère," in message.get_body(("plain",)).get_content()
    (archive, paper) = (part for part in message.iter_attachments())
    assert xdm.read(archive.get_content()).patient.value == mssgw.running.ins("PATIENT").value
    assert paper.get_content_type() == "application/pdf"
    assert mssgw.audit("PATIENT")[-2:] == [("send", "asked"), ("send", "done")]


def test_a_file_that_is_there_is_left_alone_and_nothing_is_fetched(mssgw, listed, tmp_path):
    target = tmp_path / "lettre.eml"
    target.write_text("autre chose")
    refused = mssgw("send", "1", "--to", TO, "-o", str(target), patient="PATIENT")
    assert (refused.status, refused.document["error"]) == (1, "BadInput")
    assert target.read_text() == "autre chose"
    assert ("TD3.2", "done") not in mssgw.audit("PATIENT")


@pytest.mark.parametrize(
    ("words", "said"), [(b"\xff\xfe", "n'est pas en UTF-8"), (b"a" * (1 << 20) + b"b", "1048576 au plus"), (None, "n'existe pas")]
)
def test_words_that_can_not_be_sent(mssgw, listed, tmp_path, words, said):
    file = tmp_path / "mots.txt"
    if words is not None:
        file.write_bytes(words)
    refused = mssgw("send", "1", "--to", TO, "--text", str(file), "-o", str(tmp_path / "x.eml"), patient="PATIENT", text=True)
    assert refused.status == 1
    assert said in refused.notices


def test_a_patient_s_mailbox_of_somebody_else_is_refused_before_anything_is_fetched(mssgw, listed, tmp_path):
    other = f"{mssgw.running.ins('NOUVEAU').value}@patient.mssante.fr"
    refused = mssgw("send", "1", "--to", other, "-o", str(tmp_path / "x.eml"), patient="PATIENT")
    assert (refused.status, refused.document["error"]) == (1, "NotSendable")
    assert ("TD3.2", "done") not in mssgw.audit("PATIENT")


@printed
def test_without_an_account_of_the_node_nothing_is_sent(mssgw, listed):
    """The store of this configuration was never made."""
    refused = mssgw("send", "1", "--to", TO, patient="PATIENT")
    assert (refused.status, refused.document["error"]) == (1, "NotSendable")
    assert "no store at" in refused.document["sentence_en"]
