"""Card in, PIN, VIHF signed on the token, mutual TLS with the token's key, card pulled: nothing stays open."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from dmp_connector.card.guard import CardGuard
from dmp_connector.card.pkcs11 import Pkcs11CardReader
from dmp_connector.card.readers import slots
from dmp_connector.card.simulated import SimulatedCard
from dmp_connector.card.tls_relay import RelayDown, RelaySettings, TlsRelay
from dmp_connector.client import Call, Dmp
from dmp_connector.dossier.consultation import BY_CARD, Consultations
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.recognition import Recognition
from dmp_connector.errors import CardError, ConsultationClosed, DmpError
from dmp_connector.model import Ins
from dmp_connector.settings import DmpSettings
from dmp_connector.store import DmpStore
from tests.dmp.conftest import STORE_KEYS

from .conftest import SOFTHSM, VITALE, until


@pytest.mark.peer("stunnel4")
async def test_card_pin_token_signature_token_tls_and_the_card_pulled_in_mid_consultation(cps, simulator, tmp_path, pcscd):
    running, port = simulator
    patient = next(p for p in running.config.patients if p.name == "PATIENT")
    reader = Pkcs11CardReader(SOFTHSM)
    session = await asyncio.to_thread(reader.open, cps.pin, datetime.now(UTC))
    certificate = tmp_path / "card.pem"
    certificate.write_bytes(cps.authentication.public_bytes(Encoding.PEM))
    relay = TlsRelay(
        RelaySettings(
            SOFTHSM,
            session.card.serial,
            session.card.authentication_id,
            certificate,
            "localhost",
            port,
            tmp_path / "ca.pem",
            f"127.0.0.1:{port}",
        ),
        cps.pin,
    )
    await relay.start()
    settings = DmpSettings(url=f"https://localhost:{port}/si-dmp-server/v2/services", relay=relay.url)
    store = DmpStore.open(f"sqlite:{tmp_path / 'dmp.db'}", STORE_KEYS)
    actor = session.card.actor(0, datetime.now(UTC))
    until(lambda: not next(s for s in slots() if "Virtual PCD" in s.name).atr, "an empty reader")
    physical = SimulatedCard(VITALE)  # the virtual reader sees a card come and go; SoftHSM does its cryptography
    slot = until(lambda: next((s for s in slots() if s.atr), None), "the card in its reader")
    try:
        async with Dmp(settings, session.signer) as dmp:
            desk = Desk(dmp, store)
            consultations = Consultations(desk)
            async with CardGuard(consultations, actor, relay=relay, card=session) as guard:
                guard.watch(slot)
                consultation = await consultations.open(await Recognition(desk).of(Call(actor, Ins(patient.ins, patient.oid))))
                entries = await consultations.find(consultation)
                assert entries
                (document,) = await consultations.retrieve(consultation, [entries[0].unique_id])
                assert document.content
                physical.pull()
                async with asyncio.timeout(20):
                    assert await guard.closed() == 1
                with pytest.raises(CardError):
                    guard.require_present()
            assert store.open_consultations() == ()
            with pytest.raises(ConsultationClosed):
                await consultations.find(consultation)
            with pytest.raises(RelayDown):
                relay.require_running()
            with pytest.raises(DmpError):  # neither the key nor the relay is there any more
                await dmp.td02_existence(Call(actor, Ins(patient.ins, patient.oid)))
        ended = [r for r in store.audit() if (r.what, r.outcome) == ("consultation", "closed")]
        assert [dict(r.facts)["by"] for r in ended] == [BY_CARD]
        assert all(r.evidence == f"card {session.card.serial}" for r in ended)
        assert store.check() == []
    finally:
        physical.pull()
        await relay.close()
        reader.close()
        store.close()
