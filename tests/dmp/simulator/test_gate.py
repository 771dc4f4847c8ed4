"""What the gate refuses: VIHF age, replay, signature, certificate, content; TLS without certificate."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from dmp_connector.client import Call
from dmp_connector.errors import AssertionRefused, CertificateRefused, Refused
from dmp_connector.hl7v3 import names, write
from dmp_connector.hl7v3.common import Frame
from dmp_connector.model import AccessMode, Actor, AuthenticationMode, Code
from dmp_connector.proof import vihf
from dmp_connector.settings import Software, VihfSettings
from dmp_connector.signer import FileSigner
from dmp_connector.simulator import Simulator, SimulatorConfig
from dmp_connector.wire import soap
from dmp_connector.wire.xml import parse, serialise
from tests.dmp.conftest import Clock, Keys, practitioner, structure
from tests.dmp.pki import Leaf, Root

ACTION = "urn:hl7-org:v3:PRPA_IN201307UV02"
PATH = "/si-dmp-server/v2/services/patients"


@pytest.fixture
def simulator(dmp_config: SimulatorConfig) -> Simulator:
    return Simulator(dmp_config, now=Clock())


@pytest.fixture
def send(simulator: Simulator, dmp_signer: FileSigner, dmp_keys: Keys, doctor: Actor) -> Callable[..., None]:
    """send(...) hands one TD0.2 to the simulator without a socket and raises the error of its answer."""
    from dmp_connector.model import Ins

    person = simulator.config.patients[0]
    ins = Ins(person.ins, person.oid)

    def post(
        *, actor: Actor = doctor, mode: AccessMode = AccessMode.NORMAL, signer: FileSigner = dmp_signer, at: timedelta = timedelta(0),
        settings: VihfSettings | None = None, assertion: bytes | None = None, peer: Leaf | None = dmp_keys.tls, subject: Ins = ins,
    ) -> bytes:  # fmt: skip
        now = datetime.now(UTC)
        signed = assertion or vihf.assertion(Call(actor, subject, mode), signer, Software(), settings or VihfSettings(), now + at)
        frame = Frame("1.2.3", "test", "1.2.250.1.213.4.1.1.1", "DMP", "D", now)
        payload = write.demographics_query(ins, names.Reason.EXISTENCE, frame)
        body = soap.compose(payload, action=ACTION, to=PATH, assertion=signed)
        der = peer.certificate.public_bytes(_der()) if peer else None
        status, media_type, answer = simulator.handle(PATH, soap.content_type(ACTION), body, der)
        envelope = soap.read(media_type, answer, _limits())
        if fault := soap.read_fault(envelope.payload):
            assert status == 500
            raise fault.error()
        assert status == 200
        return signed

    return post


def _der():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


def _limits():
    from dmp_connector.settings import Limits

    return Limits()


def test_an_ordinary_call_passes(send) -> None:
    send()


def test_a_vihf_is_good_for_one_use(send) -> None:  # EX_AIR-040
    signed = send()
    with pytest.raises(AssertionRefused, match="already used"):
        send(assertion=signed)


@pytest.mark.parametrize("at", [timedelta(seconds=-60), timedelta(seconds=60), timedelta(days=-1)])
def test_old_and_future_assertions(send, at: timedelta) -> None:
    with pytest.raises(AssertionRefused) as refused:
        send(at=at)
    assert refused.value.code == "MessageExpired"


def test_thirty_seconds_whatever_the_conditions_say(send) -> None:
    with pytest.raises(AssertionRefused):
        send(at=timedelta(seconds=-40), settings=VihfSettings(conditions=True, lifetime_seconds=28800))
    with pytest.raises(AssertionRefused):
        send(at=timedelta(seconds=-40), settings=VihfSettings(conditions=False))
    send(at=timedelta(seconds=-20))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: root.find(f".//{{{vihf.SAML}}}NameID").__setattr__("text", "899700000017"),
        lambda root: root.set("IssueInstant", "2026-01-01T00:00:00.000Z"),
        lambda root: root.find(f".//{{{vihf.HL7}}}PurposeOfUse").set("code", "bris_de_glace"),
        lambda root: root.remove(root.find("{http://www.w3.org/2000/09/xmldsig#}Signature")),
    ],
)
def test_a_changed_assertion(send, dmp_signer: FileSigner, doctor: Actor, simulator: Simulator, change) -> None:
    signed = parse(send())
    change(signed)
    with pytest.raises((AssertionRefused, CertificateRefused)):
        send(assertion=serialise(signed))


def test_signature_wrapping(send) -> None:
    """A second, unsigned assertion around or beside the signed one does not count."""
    signed = send()
    evil = signed.replace(b'ID="_', b'ID="_evil').replace(b"899700367909", b"899700000017")
    for wrapped in (signed + evil, evil + signed):
        with pytest.raises(AssertionRefused):
            send(assertion=wrapped)
    outer = parse(evil)
    outer.find("{http://www.w3.org/2000/09/xmldsig#}Signature").append(parse(signed))  # type: ignore[union-attr]
    with pytest.raises((AssertionRefused, CertificateRefused)):
        send(assertion=serialise(outer))


def test_sha1_only_where_it_is_configured(send, dmp_config: SimulatorConfig) -> None:
    from dmp_connector.signer import Algorithm

    with pytest.raises(AssertionRefused):
        send(settings=VihfSettings(algorithm=Algorithm.RSA_SHA1))


def test_certificates_of_strangers(send, dmp_keys: Keys) -> None:
    stranger = Root("STRANGER").issue("CACHET", signature=True)
    with pytest.raises(CertificateRefused) as refused:
        send(signer=FileSigner(stranger.certificate, stranger.key))
    assert refused.value.code == "DMPInvalidCertificate"
    assert refused.value.text == "Not a valid signature certificate"
    expired = dmp_keys.root.issue("CACHET", signature=True, days=-1)
    with pytest.raises(CertificateRefused):
        send(signer=FileSigner(expired.certificate, expired.key))
    with pytest.raises(CertificateRefused):
        send(peer=None)
    with pytest.raises(CertificateRefused):
        send(peer=stranger)


def test_tls_and_signature_of_two_structures(send, dmp_keys: Keys) -> None:
    other = dmp_keys.root.issue("AUTRE", o="CLINIQUE AUTRE", ou="10B0099999", signature=True)
    with pytest.raises(CertificateRefused):
        send(signer=FileSigner(other.certificate, other.key))


def test_revoked_certificate(dmp_config: SimulatorConfig, reconfigured, dmp_keys: Keys, dmp_signer: FileSigner) -> None:
    from dmp_connector.simulator.gate import Gate, GateRefused

    revoked = reconfigured(revoked_serials=(str(dmp_keys.seal.certificate.serial_number),))
    with pytest.raises(GateRefused):
        Gate(revoked, Clock()).require_trusted(dmp_keys.seal.certificate)
    Gate(dmp_config, Clock()).require_trusted(dmp_keys.seal.certificate)


def test_a_doctor_without_speciality(send, doctor: Actor) -> None:
    with pytest.raises(AssertionRefused, match="Aucune spécialité dans le vihf"):
        send(actor=replace(doctor, practitioner=practitioner(speciality=None)))
    send(actor=replace(doctor, practitioner=practitioner(profession=Code("60", "1.2.250.1.71.1.2.7", "Infirmier"), speciality=None)))


def test_an_inactive_structure(send, doctor: Actor) -> None:
    with pytest.raises(AssertionRefused, match="Structure introuvable ou Inactive"):
        send(actor=replace(doctor, structure=structure(id="10BINACTIVE")))


def test_regulation_and_bris_de_glace_are_not_for_everybody(send, doctor: Actor) -> None:
    with pytest.raises(Refused) as refused:
        send(mode=AccessMode.CENTRE_15)
    assert refused.value.code == "DMPAccessDeniedByRightsService"
    with pytest.raises(Refused):
        send(mode=AccessMode.BRIS_DE_GLACE, actor=replace(doctor, authentication=AuthenticationMode.INDIRECT))
    send(mode=AccessMode.BRIS_DE_GLACE)


def test_the_patient_of_the_message_is_the_patient_of_the_vihf(send, simulator: Simulator) -> None:
    from dmp_connector.model import Ins

    other = simulator.config.patients[1]
    with pytest.raises(AssertionRefused):
        send(subject=Ins(other.ins, other.oid))


@pytest.mark.parametrize(
    "settings",
    [
        VihfSettings(version="4.0"),
        VihfSettings(access_mode_system="1.2.250.1.213.1.1.4.336"),
        VihfSettings(attributes={"Authentification_mode": "Authentification_Mode"}),
        VihfSettings(conditions=True),
        VihfSettings(not_after_name="NotAfter"),
    ],
)
def test_every_open_point_of_the_guide_is_accepted(send, settings: VihfSettings) -> None:
    send(settings=settings)


def test_unknown_versions_are_not(send) -> None:
    with pytest.raises(AssertionRefused):
        send(settings=VihfSettings(version="2.0"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "SIMBadMessage"),
        (b"not xml", "SIMBadMessage"),
        (b"<a/>", "SIMBadMessage"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "SIMBadMessage"),
        (b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body/></s:Envelope>', "SIMBadMessage"),
        (b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><x/></s:Body></s:Envelope>', "InvalidSecurity"),
    ],
)
def test_rubbish_gets_a_fault(simulator: Simulator, dmp_keys: Keys, body: bytes, expected: str) -> None:
    peer = dmp_keys.tls.certificate.public_bytes(_der())
    status, media_type, answer = simulator.handle(PATH, "application/soap+xml", body, peer)
    assert status == 500
    fault = soap.read_fault(soap.read(media_type, answer, _limits()).payload)
    assert fault is not None
    assert fault.subcodes[-1] == expected


@pytest.mark.asyncio
async def test_no_client_certificate_no_connection(dmp_running, dmp_keys: Keys) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(dmp_keys.path("ca.pem"))
    async with httpx2.AsyncClient(verify=context, trust_env=False) as client:
        with pytest.raises(httpx2.HTTPError):
            await client.post(f"{dmp_running.settings.url}/patients", content=b"<a/>")


@pytest.mark.asyncio
async def test_other_methods_are_refused(dmp_running, dmp_keys: Keys) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(dmp_keys.path("ca.pem"))
    context.load_cert_chain(dmp_keys.path("tls.pem"), dmp_keys.path("tls.key"))
    async with httpx2.AsyncClient(verify=context, trust_env=False) as client:
        assert (await client.get(f"{dmp_running.settings.url}/patients")).status_code == 405


def test_the_journal_lists_who_did_what(send, simulator: Simulator) -> None:
    send()
    (line,) = simulator.world.records[simulator.config.patients[0].ins].journal
    assert (line.who, line.mode, line.outcome) == ("899700367909", "normal", "OK")
