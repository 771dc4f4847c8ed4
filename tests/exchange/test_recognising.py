"""Mail with documents as the field sends it, and as somebody would who means harm: what is found, and what the header says that is not so."""

from __future__ import annotations

import contextlib
import email
import email.policy
import io
import zipfile
from dataclasses import replace
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.core.body import Body
from mssgw.exchange.composing import Enclosure, compose
from mssgw.exchange.recognising import MOST_ARCHIVES, Enclosed, recognise
from mssgw.protocol.mime import TooComplex
from tests.exchange.test_composing import AT, LETTER, PATIENT, PROFILE, SOURCE, enclosure, pdf, wanted  # noqa: F401 - fixtures
from tests.fuzz import examples
from tests.material import files

FIELD = files("cases/xdm", "*.zip")


@pytest.fixture
def octets(enclosure: Enclosure) -> bytes:  # noqa: F811 - a fixture
    return compose(LETTER, [enclosure], PATIENT, SOURCE, PROFILE, AT)


@pytest.fixture
def archive(octets: bytes) -> bytes:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return next(part.get_content() for part in message.iter_attachments())


def found(octets: bytes) -> Enclosed:
    return recognise(Body.of(octets))


def mail(*attachments: tuple[str, bytes], subject: str = "essai", kind: str = "application/zip", **more: str) -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "a@alpha.mssante.test", subject
    for name, value in more.items():
        message[name.replace("_", "-")] = value
    message.set_content("Bonjour")
    for name, content in attachments:
        message.add_attachment(content, *kind.split("/"), filename=name)
    return message.as_bytes(policy=email.policy.SMTP)


def test_what_we_make_is_recognised_without_a_difference(octets, enclosure):  # noqa: F811 - a fixture
    got = found(octets)
    assert [one.name for one in got.archives] == ["IHE_XDM.ZIP"]
    assert got.patient == PATIENT.ins
    assert got.archives[0].content.documents[0].content == enclosure.cda
    assert len(got.papers) == 1
    assert (got.refused, got.differences) == ((), ())


@pytest.mark.parametrize("name", ["IHE_XDM.zip", "ihe-xdm.zip", "ihe_xdm (1).zip", "documents.zip", "Compte rendu.ZIP"])
@pytest.mark.parametrize("kind", ["application/zip", "application/octet-stream", "application/x-zip-compressed"])
def test_an_archive_is_recognised_by_what_is_in_it(archive, name, kind):
    assert len(found(mail((name, archive), kind=kind)).archives) == 1


def test_other_zip_files_are_nobodys_business():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as other:
        other.writestr("photo.jpg", b"x")
    assert found(mail(("photos.zip", out.getvalue()), ("broken.zip", b"PK\3\4"))) == Enclosed()


@pytest.mark.parametrize("subject", ["XDM/1.0/DDM+Lettre PAT-TROIS", "[Annule et remplace] XDM/1.0/DDM+Lettre", "xdm/1.0/ddm"])
def test_one_that_can_not_be_read_is_told_when_the_mail_is_about_it(archive, subject):
    broken = archive[:-40]
    assert found(mail(("documents.zip", broken))).refused == ()
    for octets in (mail(("documents.zip", broken), subject=subject), mail(("IHE_XDM.ZIP", broken))):
        (refused,) = found(octets).refused
        assert "damaged" in refused.why.en


def test_a_changed_document_is_refused(archive):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info, content.replace(b"PAT-TROIS", b"PAT-QUATR") if info.filename.endswith("DOC00001.XML") else content)
    (refused,) = found(mail(("IHE_XDM.ZIP", out.getvalue()))).refused
    assert "METADATA.XML" in refused.why.en


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"X-MSS-CODECDA: 11490-0\r\n", b"X-MSS-CODECDA: 11488-4\r\n", "X-MSS-CODECDA announces 11488-4, the archive has 11490-0"),
        (b"X-MSS-CODECDA: 11490-0\r\n", b"", "X-MSS-CODECDA announces -, the archive has 11490-0"),
        (b"X-MSS-INS: O\r\n", b"", "X-MSS-INS is missing"),
        (b"Subject: XDM/1.0/DDM+", b"Subject: ", "does not begin with XDM/1.0/DDM"),
        (b"PAT-TROIS DOMINIQUE 28/03/1979\r\n", b"AUTRE NOM\r\n", "does not have the birth name"),
        (b"Content-Type: application/pdf", b"Content-Type: image/png", None),
    ],
)
def test_a_header_that_says_something_else_is_told(octets, old, new, said):
    assert old in octets
    changed = octets.replace(old, new, 1)
    if said is None:  # a picture in the place of the PDF, under another name too
        changed, said = changed.replace(b".pdf", b".png"), "0 PDF for 1 CDA"
    (difference,) = found(changed).differences
    assert said in difference.en


def test_a_header_without_an_archive_is_told():
    (difference,) = found(mail(X_MSS_CODECDA="11490-0", X_MSS_INS="O")).differences
    assert difference.en == "X-MSS-CODECDA, X-MSS-INS announces documents, but the message has no IHE_XDM archive"
    assert found(mail(X_MSS_NIL="DEV935997")).differences == ()


def test_two_patients_in_two_archives_are_nobody(archive, octets, enclosure, wanted):  # noqa: F811 - fixtures
    from dmp_connector.cda.level1 import build_level1
    from dmp_connector.cda.metadata import describe
    from dmp_connector.model import Ins, InsKind

    other = replace(PATIENT, ins=Ins.typed("146026322000196", InsKind.NIR_TEST), birth_name="PAT-QUATRE")
    cda = build_level1(replace(wanted, patient=other, unique_id="1.2.250.1.213.1.1.9.1.8"))
    second = email.message_from_bytes(
        compose(LETTER, [Enclosure(describe(cda), cda, enclosure.pdf)], other, SOURCE, PROFILE, AT), policy=email.policy.default
    )
    assert isinstance(second, EmailMessage)
    theirs = next(part.get_content() for part in second.iter_attachments())
    got = found(mail(("IHE_XDM.ZIP", archive), ("IHE_XDM2.ZIP", theirs), subject="XDM/1.0/DDM+2 documents PAT-TROIS"))
    assert got.patient is None
    assert any("of 2 patients" in one.en for one in got.differences)


def test_a_forwarded_mail_answers_for_its_own_header(octets):
    outer = EmailMessage()
    outer["Subject"] = "TR: documents"
    outer.set_content("Voir ci-joint")
    outer.add_attachment(email.message_from_bytes(octets, policy=email.policy.default))
    got = found(outer.as_bytes(policy=email.policy.SMTP))
    assert [one.forwarded for one in got.archives] == [True]
    assert got.differences == ()


def test_no_more_archives_than_are_looked_into(archive):
    assert len(found(mail(*((f"IHE_XDM{n}.ZIP", archive) for n in range(MOST_ARCHIVES + 5)))).archives) == MOST_ARCHIVES


@pytest.mark.parametrize("file", FIELD, ids=lambda path: path.stem)
@pytest.mark.material("cases/xdm")
def test_archives_of_the_field_are_recognised(file):
    got = found(mail(("IHE_XDM.ZIP", file.read_bytes())))
    assert len(got.archives) == 1
    assert got.archives[0].content.documents


@given(st.binary(max_size=400), st.sampled_from(["IHE_XDM.ZIP", "x.zip"]), st.binary(max_size=200))
@settings(max_examples=examples(200), deadline=None)
def test_a_stranger_s_octets_never_raise_anything_else(content, name, header):
    octets = header + b"\r\n" + mail((name, b"PK\3\4" + content), subject="XDM/1.0/DDM+x")
    with contextlib.suppress(TooComplex):
        assert isinstance(found(octets), Enclosed)
