"""IHE_XDM.ZIP: what we write reads back, what others write reads too, what attacks is refused."""

from __future__ import annotations

import contextlib
import io
import re
import stat
import struct
import unicodedata
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_connector import codes, xdm
from dmp_connector.cda import build_level1, describe
from dmp_connector.errors import BadArchive
from dmp_connector.model import Code, Document, Dtm, Ins, InsKind, SubmissionSet, Visibility
from dmp_connector.model.documents import content_hash
from dmp_connector.xdm.locate import Locator
from mssgw.cli.dmp.documents import entry_json
from tests.fuzz import examples
from tests.material import OURS, files, place

from .conftest import EXAMPLES, needs_examples
from .test_cda import _sample

SENDER = xdm.Sender("Dr Jeanne Martin", "Cabinet Martin", "12 rue de la Paix 75002 PARIS", "0102030405")
PEERS = OURS / "mssante/peer-direct"


def submission_of(entry) -> SubmissionSet:
    return SubmissionSet(
        "1.2.250.1.213.1.1.9.1.99",
        "1.2.250.1.213.1.1.9.1",
        entry.patient,
        Code("07", "1.2.250.1.213.2.2", "Consultations soins externes"),
        entry.authors[0],
        Dtm.of(datetime(2026, 11, 22, 9, 30, tzinfo=UTC)),
        "Envoi",
    )


@needs_examples
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_reads_back_identical(path):
    content = path.read_bytes()
    entry = describe(content)
    submission = submission_of(entry)
    archive = xdm.write(submission, [Document(entry, content)], sender=SENDER)
    found = xdm.read(archive)
    assert found.notes == ()
    assert found.patient == entry.patient
    (document,) = found.documents
    assert document.content == content
    assert replace(document.entry, entry_uuid="", uri="") == entry
    assert replace(found.sets[0].submission, entry_uuid="") == submission
    again = xdm.write(submission, [Document(replace(document.entry, entry_uuid="", uri=""), document.content)], sender=SENDER)
    assert again == archive


@pytest.fixture
def wrapped(wanted) -> xdm.Wrapped:
    return xdm.wrap(wanted, submission_id="1.2.3.4", source_id="1.2.3")


@pytest.fixture
def members(wrapped) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(wrapped.archive)) as opened:
        return {i.filename: opened.read(i) for i in opened.infolist()}


def packed(members: dict[str, bytes], **options) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_layout_and_subject_are_the_profiles(wrapped, members):  # ITI-32; ECO.2.1.1, ECO.2.1.3
    assert list(members) == ["INDEX.HTM", "README.TXT", "IHE_XDM/SUBSET01/METADATA.XML", "IHE_XDM/SUBSET01/DOC00001.XML"]
    assert "Emetteur" in members["README.TXT"].decode()
    assert wrapped.subject == "XDM/1.0/DDM+Lettre de liaison a la sortie d'un etabl PAT-TROIS DOMINIQUE 28/03/1979"


def test_visibility_travels(wanted):
    content = build_level1(wanted)
    entry = describe(content).with_visibility(frozenset({Visibility.HIDDEN_FROM_PATIENT}))
    found = xdm.read(xdm.write(submission_of(entry), [Document(entry, content)], sender=SENDER))
    assert found.documents[0].entry.visibility == {Visibility.HIDDEN_FROM_PATIENT}


# ------------------------------------------------------------------- deviations survived


@pytest.mark.parametrize(
    ("name", "note", "path"),
    [
        ("samplexdm.zip", "the tree lies under an extra folder", "samplexdm/IHE_XDM/SUBSET01/Document01.xml"),
        ("xdm-badpaths.zip", "the separator between folder and file was lost", "IHE_XDM/SUBSET01871efced-488f-4699-b38d-015791e7ef04.txt"),
    ],
)
def test_archives_of_other_makers(name, note, path):
    found = xdm.read((PEERS / name).read_bytes())
    assert note in [str(one) for one in found.notes]
    assert [d.path for d in found.documents] == [path]
    assert found.patient is None


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda n: f"envoi/{n}", "the tree lies under an extra folder"),
        (str.lower, "names are not in upper case"),
        (lambda n: n.replace("SUBSET01/", "SUBSET01"), "the separator between folder and file was lost"),
        (lambda n: n.replace("IHE_XDM/", ""), "no IHE_XDM folder"),
        (lambda n: n.replace("DOC00001.XML", "doc00001.xml"), "a document's name differs in case from its URI"),
        (lambda n: n.replace("IHE_XDM/SUBSET01/DOC", "autre/DOC"), "a document was found by its name only"),
        (lambda n: n.replace("/", "\\") if "DOC" not in n else n, None),
    ],
)
def test_each_deviation_is_survived_and_remarked(members, change, note):
    found = xdm.read(packed({change(name): content for name, content in members.items()}))
    assert len(found.documents) == 1
    if note:
        assert note in [str(one) for one in found.notes]


def test_a_document_without_uri_hash_or_size(members):
    name = "IHE_XDM/SUBSET01/METADATA.XML"
    bare = re.sub(rb'<rim:Slot name="(?:hash|size)">.*?</rim:Slot>', b"", members[name])
    assert bare != members[name]
    found = xdm.read(packed({**members, name: bare}))
    assert "a document has no hash or no size" in [str(one) for one in found.notes]


METADATA, DOCUMENT = "IHE_XDM/SUBSET01/METADATA.XML", "IHE_XDM/SUBSET01/DOC00001.XML"


def renamed(members: dict[str, bytes], written: bytes, uri: str, *, flag: bool = False) -> bytes:
    """The archive with its document under a name of any octets, without the flag of UTF-8 unless asked for."""
    placeholder = "IHE_XDM/SUBSET01/" + "N" * len(written)
    metadata = members[METADATA].replace(b"DOC00001.XML", uri.encode())
    archive = packed({placeholder if name == DOCUMENT else name: metadata if name == METADATA else c for name, c in members.items()})
    assert archive.count(b"N" * len(written)) == 2
    octets = archive.replace(b"N" * len(written), written)
    if flag:
        octets = bytearray(octets)
        for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            header = octets.rindex(mark, 0, octets.index(written) if mark == b"PK\x03\x04" else octets.rindex(written))
            octets[header + at + 1] |= 0x08
    return bytes(octets)


def without(metadata: bytes, *slots: str) -> bytes:
    for slot in slots:
        shorter = re.sub(rf'<rim:Slot name="{slot}">.*?</rim:Slot>'.encode(), b"", metadata)
        assert shorter != metadata
        metadata = shorter
    return metadata


ACCENTS = "Résumé_1.XML"


@pytest.mark.parametrize(
    ("written", "uri", "flag"),
    [
        (ACCENTS.encode(), ACCENTS, False),
        (ACCENTS.encode(), ACCENTS, True),
        (ACCENTS.encode("cp1252"), ACCENTS, False),
        (unicodedata.normalize("NFD", ACCENTS).encode(), ACCENTS, True),  # macOS
        (b"DOC 00001.XML", "DOC%2000001.XML", False),
        (ACCENTS.encode(), "R%C3%A9sum%C3%A9_1.XML", False),
    ],
)
def test_a_name_is_found_however_it_was_written(members, written, uri, flag):
    found = xdm.read(renamed(members, written, uri, flag=flag))
    assert [d.content for d in found.documents] == [members[DOCUMENT]]
    assert "a document was found by its hash" not in [str(note) for note in found.notes]


def test_a_name_in_the_alphabet_of_dos_is_found_by_its_hash(members):
    found = xdm.read(renamed(members, ACCENTS.encode("cp437"), ACCENTS))
    assert [d.content for d in found.documents] == [members[DOCUMENT]]
    assert "a document was found by its hash" in [str(note) for note in found.notes]


def test_what_the_finder_of_macos_adds_counts_for_nothing(members):
    added = {f"__MACOSX/{METADATA}".replace("META", "._META"): b"\0\5\x16\7", "IHE_XDM/SUBSET01/._DOC00001.XML": b"\0", ".DS_Store": b"\0"}
    found = xdm.read(packed({**members, **added}))
    assert [d.path for d in found.documents] == [DOCUMENT]
    assert [str(note) for note in found.notes] == ["files that macOS adds were ignored"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_metadata_in_utf_16_are_read(members, encoding):
    text = members[METADATA].decode()
    declared = text if text.startswith("<?xml") else f'<?xml version="1.0" encoding="UTF-16"?>{text}'
    found = xdm.read(packed({**members, METADATA: declared.replace("UTF-8", "UTF-16").encode(encoding)}))
    assert [d.content for d in found.documents] == [members[DOCUMENT]]
    assert found.documents[0].entry == xdm.read(packed(members)).documents[0].entry


def test_a_document_without_uri_is_found_by_its_hash_or_as_the_only_file(members):
    by_hash = without(members[METADATA], "URI")
    found = xdm.read(packed({**members, METADATA: by_hash, "IHE_XDM/SUBSET01/OTHER.XML": b"<x/>"}))
    assert [d.path for d in found.documents] == [DOCUMENT]
    nothing = without(members[METADATA], "URI", "hash", "size")
    assert [d.path for d in xdm.read(packed({**members, METADATA: nothing})).documents] == [DOCUMENT]
    refused(packed({**members, METADATA: nothing, "IHE_XDM/SUBSET01/OTHER.XML": b"<x/>"}), "no URI.* cannot be told which file")


def test_blanks_in_a_patient_identifier_count_for_nothing(members):
    spaced = members[METADATA].replace(b"279035121518989^^^&amp;", b" 279035121518989 ^^^ &amp; ")
    assert spaced != members[METADATA]
    assert xdm.read(packed({**members, METADATA: spaced})).patient == xdm.read(packed(members)).patient


def test_one_moment_that_cannot_be_read_is_reported_and_the_rest_is_read(members):
    bad = re.sub(rb'(<rim:Slot name="creationTime"><rim:ValueList><rim:Value>)\d+', rb"\g<1>2022-03-04", members[METADATA])
    assert bad != members[METADATA]
    found = xdm.read(packed({**members, METADATA: bad}))
    assert [d.content for d in found.documents] == [members[DOCUMENT]]
    assert any("creationTime" in str(note) and "2022-03-04" in str(note) for note in found.notes)
    assert entry_json(found.documents[0].entry)["created"] is None


@pytest.mark.material("cases/xdm")
def test_each_archive_of_the_field_is_read_as_the_regular_one():
    folder = place("cases/xdm")
    regular = xdm.read((folder / "regular.zip").read_bytes())
    assert regular.notes == ()
    others = [path for path in files("cases/xdm", "*.zip") if path.name != "regular.zip"]
    assert len(others) >= 8
    for path in others:
        found = xdm.read(path.read_bytes())
        assert [d.content for d in found.documents] == [d.content for d in regular.documents], path.name
        assert found.patient == regular.patient, path.name


# ------------------------------------------------------------------- attacks refused


def test_leniency_lets_no_attack_through(members, wanted):
    """What was refused before names, URIs and encodings were read more leniently is refused still."""
    for name in (b"..\xc2\xa0/..", b"../..", b"\xe9/../x", b"/\xc3\xa9"):
        refused(renamed(members, name, "x"), "leaves the archive|not in the archive" if b"\xa0" in name else "leaves the archive")
    for uri in ("%2e%2e/%2e%2e/etc/passwd", "..%5C..%5Cx", "%2Fetc%2Fpasswd", "C%3A/x", "a%00b"):
        refused(packed({**members, METADATA: members[METADATA].replace(b"DOC00001.XML", uri.encode())}), "URI leaves")
    two = {**members, "IHE_XDM/SUBSET01/Ré.XML": b"<x/>"}
    for written in ("Ré.XML".encode("cp1252"), "Ré.XML".encode(), "RÉ.XML".encode(), unicodedata.normalize("NFD", "Ré.XML").encode()):
        refused(renamed(two, written, "Ré.XML"), "same name")
    bomb = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    refused(packed({**members, METADATA: bomb.encode("utf-16")}), "DTD")
    refused(packed({**members, METADATA: "<x/>".encode("utf-32")}), "METADATA")
    refused(packed({**members, METADATA: b"\xff\xfe<\0\0\xd8x\0"}), "UTF-16")
    refused(packed({**{k: v for k, v in members.items() if k != METADATA}, f"__MACOSX/{METADATA}": members[METADATA]}), "no METADATA.XML")
    stranger = {**members, METADATA: without(members[METADATA], "URI"), DOCUMENT: members[DOCUMENT] + b" "}
    refused(packed(stranger), "bytes where")  # the only file, but not the one announced
    other = build_level1(replace(wanted, unique_id="1.2.3.9"))
    unsigned = without(members[METADATA], "URI", "hash", "size")
    refused(packed({**members, METADATA: unsigned, DOCUMENT: other}), "two ids")


def test_a_hash_is_asked_of_each_file_once(members, monkeypatch):
    """Regression guard: five hundred documents without a URI in an archive of five hundred files are not hashed 250,000 times."""
    counted = []
    monkeypatch.setattr("dmp_connector.xdm.locate.content_hash", lambda content: counted.append(1) or content_hash(content))
    entry = replace(describe(members[DOCUMENT]), uri="")
    locator = Locator({f"F{n}": b"%d" % n for n in range(20)} | {DOCUMENT: members[DOCUMENT]}, [])
    assert [locator.locate(entry, METADATA, "") for _ in range(20)] == [DOCUMENT] * 20
    assert len(counted) == 21


def refused(data: bytes, said: str, **limits) -> None:
    with pytest.raises(BadArchive, match=said) as raised:
        xdm.read(data, limits=xdm.XdmLimits(**limits) if limits else None)
    assert raised.value.message.fr.startswith("L'archive")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "C:/x", "IHE_XDM/../../x", "a\\..\\..\\x", "a//b"])
def test_path_traversal(members, name):
    refused(packed({**members, name: b"x"}), "leaves the archive")


def test_a_uri_that_climbs(members):
    name = "IHE_XDM/SUBSET01/METADATA.XML"
    refused(packed({**members, name: members[name].replace(b"DOC00001.XML", b"../../../etc/passwd")}), "URI leaves")


def test_two_members_of_one_name(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("ihe_xdm/subset01/doc00001.xml", b"other")
    refused(out.getvalue(), "same name")


def test_a_symbolic_link(members):
    link = zipfile.ZipInfo("IHE_XDM/SUBSET01/LINK")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(link, "/etc/passwd")
    refused(out.getvalue(), "symbolic links")


def test_a_zip_bomb_by_ratio_by_size_and_by_lies(members):
    refused(packed({**members, "BOMB": b"\0" * 30_000_000}), "times its size")
    refused(packed({**members, "A": b"x" * 2000}), "at most", total_bytes=1000)
    honest = packed({**members, "BOMB": b"\0" * 5_000_000})
    at = honest.rindex(b"PK\x01\x02", 0, honest.rindex(b"BOMB"))
    liar = bytearray(honest)
    liar[at + 24 : at + 28] = struct.pack("<I", 10)  # announces ten octets
    with pytest.raises(BadArchive):
        xdm.read(bytes(liar), limits=xdm.XdmLimits(total_bytes=1_000_000))


def test_overlapping_members(members):
    """Many members that share one compressed block: each is small, together they are a bomb."""
    whole = bytearray(packed({"A": b"\0" * 100_000, "B": b"\0" * 100_000, **members}))
    first = whole.index(b"PK\x01\x02")
    second = whole.index(b"PK\x01\x02", first + 4)
    whole[second + 42 : second + 46] = whole[first + 42 : first + 46]
    refused(bytes(whole), "overlap|damaged")


def test_too_many_members_encrypted_prefixed_truncated_or_no_zip(members, wrapped):
    refused(packed({**members, **{f"F{n}": b"" for n in range(600)}}), "members")
    locked = bytearray(wrapped.archive)
    at = locked.rindex(b"PK\x01\x02")
    locked[at + 8] |= 1
    refused(bytes(locked), "encrypted")
    refused(b"MZ" + wrapped.archive, "not a ZIP")
    refused(wrapped.archive[: len(wrapped.archive) // 2], "damaged")
    refused(b"", "not a ZIP")
    refused(packed({"x": b""}), "no METADATA.XML")


def test_an_xml_bomb_in_the_metadata(members):
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><x>&a;</x>'
    refused(packed({**members, "IHE_XDM/SUBSET01/METADATA.XML": bomb}), "DTD")
    refused(packed({**members, "IHE_XDM/SUBSET01/METADATA.XML": b"<a>" * 1000}), "METADATA")


def test_a_document_that_is_not_there_or_not_the_one_announced(members):
    name = "IHE_XDM/SUBSET01/DOC00001.XML"
    refused(packed({k: v for k, v in members.items() if k != name}), "not in the archive")
    refused(packed({**members, name: members[name] + b" "}), "bytes where")
    refused(packed({**members, name: members[name].replace(b"DOMINIQUE", b"DOMINIKUE", 1)}), "hash")


def test_two_patients_in_one_archive(wanted):
    first = build_level1(wanted)
    other = build_level1(
        replace(wanted, unique_id="1.2.3.9", patient=replace(wanted.patient, ins=Ins.typed("109076322083489", InsKind.NIR_TEST)))
    )
    documents = [Document(describe(c), c) for c in (first, other)]
    with pytest.raises(BadArchive, match="one patient"):
        xdm.write(submission_of(documents[0].entry), documents, sender=SENDER)
    lied = replace(documents[1].entry, patient=documents[0].entry.patient)
    archive = xdm.write(submission_of(documents[0].entry), [documents[0], Document(lied, other)], sender=SENDER)
    refused(archive, "two patients")


def test_metadata_of_two_patients(members):
    name = "IHE_XDM/SUBSET01/METADATA.XML"
    at = members[name].rindex(b"279035121518989^^^")
    changed = members[name][:at] + b"109076322083489^^^" + members[name][at + 18 :]
    refused(packed({**members, name: changed}), "two patients")


def test_metadata_of_another_document(members):
    name = "IHE_XDM/SUBSET01/METADATA.XML"
    refused(packed({**members, name: members[name].replace(b"1.2.250.1.213.1.1.9.1.7", b"1.2.250.1.213.1.1.9.1.8")}), "two ids")


def test_what_cannot_be_written(wanted):
    content = build_level1(wanted)
    document = Document(describe(content), content)
    for documents in ([], [document, document]):
        with pytest.raises(BadArchive):
            xdm.write(submission_of(document.entry), documents, sender=SENDER)


_GOOD: list[bytes] = []


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=12))
@settings(max_examples=examples(150), deadline=None)
def test_a_damaged_archive_is_read_or_refused(at, piece):
    if not _GOOD:
        content = _sample()
        entry = describe(content, tables=codes.load())
        _GOOD.append(xdm.write(submission_of(entry), [Document(entry, content)], sender=SENDER))
    good = _GOOD[0]
    at %= len(good)
    with contextlib.suppress(BadArchive):
        xdm.read(good[:at] + piece + good[at + len(piece) :])
