"""Documents of the DMP leave alpha as a signed and encrypted mail, and beta's doctor finds them in any mail client."""

from __future__ import annotations

import email
import email.policy
import json
from email.message import EmailMessage

import pytest

from dmp_connector import xdm
from dmp_connector.paper.pdf import require_pdfa1
from tests.world import World, until

pytestmark = pytest.mark.peer("/usr/lib/*/libpangoft2-1.0.so.0")  # of the PDF/A of a structured document
PATIENT = "279035121518989"  # of the demo's DMP
OWN = f"{PATIENT}@patient.mssante.fr"


def dmp(world: World, verb: str, *arguments: str) -> tuple[int, dict]:
    done = world.verb("dmp", verb, "--as", world.martin["address"], "--patient", PATIENT, "--json", *arguments, operator="alpha")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def arrived(world: World, trace: str) -> EmailMessage | None:
    """The mail in the INBOX at beta, as Python's reader of today sees it."""
    with world.reader() as client:
        found = client.search(None, "HEADER", "Message-ID", trace)[1][0].split()
        if not found:
            return None
        message = email.message_from_bytes(client.fetch(found[-1], "(BODY.PEEK[])")[1][0][1], policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_documents_of_a_dossier_are_sent_and_read(world: World) -> None:
    _, listed = dmp(world, "find", "--all")
    current = [one for one in listed["documents"] if not one["visibility"]]
    status, sent = dmp(world, "send", *(one["unique_id"] for one in current[:2]), "--to", world.durand["address"], "--ask-receipt")
    assert status == 0, sent
    assert sent["to"] == [world.durand["address"]]
    message = until("the mail at beta", lambda: arrived(world, sent["trace"]))
    assert "smime=pass" in message["Authentication-Results"]
    assert message["Subject"] == "XDM/1.0/DDM+2 documents PAT-TROIS DOMINIQUE 28/03/1979"
    assert message["X-MSS-CODECDA"] == ",".join(one["type"] for one in current[:2])
    assert message["X-MSS-INS"] == "O"
    assert message["Disposition-Notification-To"] == world.martin["address"]
    files = {part.get_filename(): part.get_payload(decode=True) for part in message.walk() if part.get_filename()}
    archive = xdm.read(files["IHE_XDM.ZIP"])
    assert [one.entry.unique_id for one in archive.documents] == [one["unique_id"] for one in current[:2]]
    assert archive.patient is not None
    assert archive.patient.value == PATIENT
    papers = [octets for name, octets in files.items() if name.endswith("_PAT-TROIS_DOMINIQUE.pdf")]
    assert len(papers) == 2
    for paper in papers:
        require_pdfa1(paper)
    _, trail = dmp(world, "audit")
    rows = [
        one["facts"]
        for one in trail["audit"]
        if (one["what"], one["outcome"]) == ("send", "done") and one["facts"]["trace"] == sent["trace"]
    ]
    assert [one["document"] for one in rows] == [one["unique_id"] for one in current[:2]]


def test_nothing_leaves_for_who_may_not_read_it(world: World) -> None:
    _, listed = dmp(world, "find", "--all")
    masked = next(one["unique_id"] for one in listed["documents"] if one["visibility"] == ["MASQUE_PS"])
    hidden = next(one["unique_id"] for one in listed["documents"] if one["visibility"] == ["INVISIBLE_PATIENT"])
    for document, to in ((masked, world.durand["address"]), (hidden, OWN)):
        status, said = dmp(world, "send", document, "--to", to)
        assert (status, said["error"]) == (1, "NotSendable")
    shown = next(one["unique_id"] for one in listed["documents"] if not one["visibility"])
    for to in ("nobody@unlisted.example", "nobody@beta.mssante", "146026322000196@patient.mssante.fr"):
        status, said = dmp(world, "send", shown, "--to", to)
        assert (status, said["error"]) == (1, "NotSendable"), to
