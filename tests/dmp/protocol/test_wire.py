"""What crosses our border: XML and multiparts of others, identifiers typed and received, settings, traces."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_connector.ebxml import read_query, read_registry
from dmp_connector.ebxml.query import adhoc, listed
from dmp_connector.errors import BadAnswer, BadIns, BadSettings, DmpError, HostileXml, TraitsDiffer
from dmp_connector.model import (
    Dtm,
    Ins,
    InsKind,
    Institution,
    KeyPolicy,
    Patient,
    Person,
    Sex,
    ins_key,
    plain_name,
)
from dmp_connector.settings import DmpSettings, Limits
from dmp_connector.wire import mtom, soap
from dmp_connector.wire.xml import parse

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(f'<!ENTITY {chr(98 + n)} "{"&" + chr(97 + n) + ";"}{"&" + chr(97 + n) + ";"}">'.encode() for n in range(20))
    + b"]><l>&u;</l>"
)


@pytest.mark.parametrize(
    "data",
    [
        BOMB,
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?xml version="1.0"?>\n<!-- c --><?pi x?>\n<!DOCTYPE a><a/>',
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".encode("utf-16"),
        b"\xef\xbb\xbf<!DOCTYPE a><a/>",
        b"<a>" * 200 + b"</a>" * 200,
        b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a +AFsAPAAh-ENTITY b +ACI-c+ACIAPgBdAD4APA-a/+AD4-',
    ],
)
def test_hostile_xml(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse(data)


def test_too_large_and_too_deep_are_hostile() -> None:
    with pytest.raises(HostileXml):
        parse(b"<a>" + b" " * 100 + b"</a>", max_bytes=50)
    with pytest.raises(HostileXml):
        parse(b"<a>" * 20 + b"</a>" * 20, max_depth=10)
    parse(b"<a>" * 10 + b"</a>" * 10, max_depth=10)
    with pytest.raises(HostileXml):
        parse(b"<a>" * 5000 + b"</a>" * 5000)


def test_a_doctype_in_the_text_is_text() -> None:
    assert parse(b"<a><![CDATA[<!DOCTYPE html>]]></a>").text == "<!DOCTYPE html>"


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        parse(data)
    except DmpError:
        return


@given(st.lists(st.binary(max_size=300), max_size=4), st.binary(max_size=200))
def test_mtom_round_trip(contents: list[bytes], envelope: bytes) -> None:  # RFC 2387
    parts = [mtom.Part(f"0.{n}", "application/octet-stream", content) for n, content in enumerate(contents, 2)]
    media_type, body = mtom.encode(envelope, parts, "urn:a")
    root, found = mtom.decode(media_type, body)
    assert root == envelope
    assert [found[p.cid].content for p in parts] == contents


@given(st.binary(max_size=500), st.text(max_size=80))
def test_any_multipart_is_read_or_refused(body: bytes, parameters: str) -> None:
    for media_type in ('multipart/related; boundary="b"', f"multipart/related; {parameters}"):
        try:
            mtom.decode(media_type, b"--b\r\n\r\n" + body)
        except DmpError:
            continue


FOREIGN = (
    b"preamble\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-ID: <b%40c>\r\n\r\naGVs\r\nbG8=\r\n"
    b'--x\r\ncontent-type: application/xop+xml;\r\n type="application/soap+xml"\r\ncontent-id: <root>\r\n\r\n<a/>\r\n--x--epilogue'
)


def test_multiparts_as_real_peers_send_them() -> None:
    """Root not first, header names in lower case, folded, base64 part, preamble and epilogue."""
    root, parts = mtom.decode('multipart/related; boundary=x; start="<root>"', FOREIGN)
    assert root == b"<a/>"
    assert parts["b%40c"].content == b"hello"


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("multipart/related", b"--x\r\n"),
        ('multipart/related; boundary="x"', b"nothing"),
        ('multipart/related; boundary="x"', b"--x\r\nContent-ID: <a>\r\n\r\nno end"),
        ('multipart/related; boundary="x"', b"--x--"),
        ('multipart/related; boundary="x"; start="<no>"', FOREIGN.replace(b"<root>", b"<other>")),
        ('multipart/related; boundary="x"', FOREIGN.replace(b"base64", b"quoted-printable")),
        ('multipart/related; boundary="x"', FOREIGN.replace(b"aGVs", b"a*Vs")),
        ('multipart/related; boundary="x"', FOREIGN.replace(b"<b%40c>", b"<root>")),
        ('multipart/related; boundary="x"', b"--x\r\n" + b"H" * 20000 + b"\r\n\r\nx\r\n--x--"),
    ],
)
def test_broken_multiparts(media_type: str, body: bytes) -> None:
    with pytest.raises(BadAnswer):
        mtom.decode(media_type, body)


def test_too_many_parts() -> None:
    parts = [mtom.Part(str(n), "a/b", b"") for n in range(12)]
    media_type, body = mtom.encode(b"<a/>", parts, "urn:a")
    with pytest.raises(BadAnswer):
        mtom.decode(media_type, body, max_parts=10)


def test_an_include_that_leads_nowhere() -> None:
    element = parse(b'<d xmlns:x="http://www.w3.org/2004/08/xop/include"><x:Include href="cid:0.9"/></d>')
    with pytest.raises(BadAnswer):
        mtom.content_of(element, {})
    for reference in ("http://example.test/x", "file:///etc/passwd"):
        element = parse(f'<d xmlns:x="http://www.w3.org/2004/08/xop/include"><x:Include href="{reference}"/></d>'.encode())
        with pytest.raises(BadAnswer):
            mtom.content_of(element, {"": mtom.Part("", "a/b", b"")})


def test_the_content_type_of_a_request_names_its_action() -> None:
    """RFC 3902: application/soap+xml, with the charset and the action as parameters."""
    read = Message()
    read["Content-Type"] = soap.content_type("urn:ihe:iti:2007:RetrieveDocumentSet")
    assert read.get_content_type() == "application/soap+xml"
    assert read.get_content_charset() == "utf-8"
    assert read.get_param("action") == "urn:ihe:iti:2007:RetrieveDocumentSet"


def test_envelopes_escape_what_they_are_given() -> None:
    body = soap.compose(b"<p/>", action="urn:a&b<c>", to="https://x/?a=1&b=2")
    read = soap.read("application/soap+xml", body, Limits())
    assert (read.action, read.to) == ("urn:a&b<c>", "https://x/?a=1&b=2")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20), min_size=1, max_size=4))
def test_query_values_survive_quoting(values: list[str]) -> None:
    values = [v.strip() or "x" for v in values]
    query = read_query(adhoc("urn:q", [("$v", listed(values))]))
    assert query.parameters["$v"] == values


def test_registry_of_nothing() -> None:
    assert read_registry(parse(b"<a/>")).entries == ()


# ---- identifiers

KNOWN_GOOD = [
    "275126322074974", "180032B02040123", "109076322083489", "209076322083439", "209066322012355",
    "110086322083060", "109076322088835", "279035121518989", "277076322082910", "162018885045327",
]  # fmt: skip


@pytest.mark.parametrize("value", KNOWN_GOOD)
def test_keys_of_the_national_platform(value: str) -> None:
    assert Ins.typed(value).key_holds
    assert ins_key(value[:13]) == value[13:]


@pytest.mark.parametrize("value", KNOWN_GOOD)
def test_a_wrong_key_is_refused_when_typed_and_noted_when_received(value: str) -> None:
    wrong = value[:13] + f"{(int(value[13:]) % 97) + 1:02d}"
    with pytest.raises(BadIns):
        Ins.typed(wrong)
    assert not Ins.received(wrong).key_holds
    assert Ins.typed(wrong, InsKind.NIR_TEST, policy={InsKind.NIR_TEST: KeyPolicy.ACCEPT}).value == wrong


@given(st.sampled_from(KNOWN_GOOD), st.integers(0, 14), st.sampled_from("0123456789"))
def test_one_wrong_digit_is_found(value: str, position: int, digit: str) -> None:
    changed = value[:position] + digit + value[position + 1 :]
    if changed != value:
        with pytest.raises(BadIns):
            Ins.typed(changed)


@pytest.mark.parametrize(
    "text", ["", "27512632207497", "2751263220749745", "27512632207497X", "2C5126322074974", "27512632207497²", "٢٧٥١٢٦٣٢٢٠٧٤٩٧٤"]
)
def test_shapes_that_are_no_ins(text: str) -> None:
    with pytest.raises(BadIns):
        Ins.typed(text)
    with pytest.raises(BadIns):
        Ins.received(text)


def test_typing_with_blanks() -> None:
    assert Ins.typed("2 75 12 63 220 749 74").value == "275126322074974"
    assert Ins.typed("1 80 03 2b 020 401 23").value == "180032B02040123"


def test_cx() -> None:
    ins = Ins.from_cx("162018885045327^^^&1.2.250.1.213.1.4.10&ISO^NH")
    assert ins == Ins("162018885045327", InsKind.NIR_TEST)
    assert ins.cx == "162018885045327^^^&1.2.250.1.213.1.4.10&ISO^NH"
    for bad in ("162018885045327", "162018885045327^^^&1.2&ISO", "x^^^&1.2&ISO^NH"):
        with pytest.raises(BadIns):
            Ins.from_cx(bad)


def test_xcn_and_xon_of_real_messages() -> None:
    for xcn in (
        "899700367909^DOC0036790^KIT^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS",
        "899711256811^DRIMBox^ANS^^^^^^&1.2.250.1.71.4.2.1&ISO^U^^^EI",
    ):
        assert Person.parse(xcn).xcn == xcn
    assert Person.parse("Gerald Smitty").xcn == "Gerald Smitty"
    xon = "BCOM^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^499700367909006"
    assert Institution.parse(xon).xon == xon
    assert Person("8", "DE^LA|TOUR~", "A&B").xcn.startswith("8^DE LA TOUR ^A B^")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("20240115093000+0100", "20240115083000"),
        ("20240115093000", "20240115093000"),
        ("202401150930", "202401150930"),
        ("20240101", "20240101"),
        ("2005", "2005"),
        ("20240101003000+02:00", "20231231223000"),
        ("20240115093000.123Z", "20240115093000"),
    ],
)
def test_times(text: str, printed: str) -> None:
    assert str(Dtm.parse(text)) == printed


@pytest.mark.parametrize("text", ["", "2024-01-15", "20241345", "99999999999999", "2024011509300", "x"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(DmpError):
        Dtm.parse(text)


def person(**changes: object) -> Patient:
    base = Patient(Ins("279035121518989"), "D'HÉRAULT-LŒW", "ANNE MARIE", date(1979, 3, 28), Sex.F, "75115")
    return replace(base, **changes)  # type: ignore[arg-type]


def test_traits_compare_as_the_rniv_wants() -> None:
    person().require_same_traits(person(birth_name="D HERAULT LOEW", given_names="Anne", birth_place=None))
    with pytest.raises(TraitsDiffer) as differs:
        person().require_same_traits(person(birth_name="AUTRE", birth_date=date(1979, 3, 29), sex=Sex.M))
    assert differs.value.fields == ("birth name", "birth date", "sex")
    assert "AUTRE" not in str(differs.value)
    person().require_same_traits(person(ins=Ins("279035121518989", InsKind.NIR_TEST)))  # INSi and DMP of the test platform
    with pytest.raises(TraitsDiffer):
        person().require_same_traits(person(ins=Ins("279035121518989", InsKind.NIA)))


def test_patients_do_not_print_themselves() -> None:
    assert "HÉRAULT" not in repr(person())
    assert "279035" not in repr(person())


def test_plain_names() -> None:
    assert plain_name("  Lœw-d'Ĥérault ") == "LOEW D HERAULT"


# ---- settings

FILES = {"certificate": Path("c.pem"), "key": Path("k.pem")}


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://dmp.example.test/x"},
        {"url": "dmp"},
        {"key": None},
        {"relay": "http://127.0.0.1:4000"},
        {"certificate": None, "key": None},
        {"certificate": None, "key": None, "relay": "http://10.0.0.1:4000"},
        {"certificate": None, "key": None, "relay": "https://127.0.0.1:4000"},
        {"service_urls": {"nope": "https://x.example.test/a"}},
        {"service_urls": {"registry": "http://x.example.test/a"}},
        {"production": True, "trace": Path("t")},
    ],
)
def test_settings_that_cannot_hold(changes: dict[str, object]) -> None:
    with pytest.raises(BadSettings):
        DmpSettings(**{"url": "https://dmp.example.test/x", **FILES, **changes})  # type: ignore[arg-type]


def test_a_trace_in_production_needs_its_own_switch() -> None:
    settings = DmpSettings("https://dmp.example.test/x", production=True, trace=Path("t"), trace_in_production=True, **FILES)  # type: ignore[arg-type]
    assert settings.trace == Path("t")


def test_secrets_do_not_print() -> None:  # EX_GEN-1490
    from dmp_connector.settings import Software

    assert "H-1234" not in repr(DmpSettings("https://d.example.test/x", software=Software(homologation="H-1234"), **FILES))  # type: ignore[arg-type]


def test_one_service_elsewhere() -> None:
    settings = DmpSettings("https://d.example.test/x/", service_urls={"registry": "https://r.example.test/q"}, **FILES)  # type: ignore[arg-type]
    assert settings.service_url("registry") == "https://r.example.test/q"
    assert settings.service_url("patients") == "https://d.example.test/x/patients"


def test_now_is_utc() -> None:
    assert Dtm.of(datetime(2026, 1, 1, tzinfo=UTC)).at.tzinfo is UTC


# ---- sentences


def test_users_read_french_first() -> None:
    with pytest.raises(BadIns) as error:
        Ins.typed("275126322074973")
    assert (
        error.value.message.fr
        == "Le matricule INS saisi n'est pas valide\N{NO-BREAK SPACE}: la clé ne correspond pas au numéro\N{NO-BREAK SPACE}; comparez avec la carte"
    )
    assert "key does not match" in error.value.message.en
    assert "INSi\N{NO-BREAK SPACE}: date de naissance." in TraitsDiffer(("birth date",)).message.fr


def test_words_of_the_server_pass_as_they_came() -> None:
    from dmp_connector import errors

    refused = errors.refusal("DMPQuelque{0}Chose", "texte {1} du serveur")
    assert refused.message.fr == "Le DMP a refusé l'opération (DMPQuelque{0}Chose)\N{NO-BREAK SPACE}: texte {1} du serveur"
    assert errors.WrongPin(2).message.fr == "Code porteur incorrect. Essais restants\N{NO-BREAK SPACE}: 2."
