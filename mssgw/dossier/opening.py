"""The actor's key: a file, or the card in the reader with its PIN and, without a certificate of the structure, its TLS relay."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dmp_connector import codes
from dmp_connector.card.pkcs11 import CardSession, Pkcs11CardReader
from dmp_connector.card.tls_relay import RelaySettings, TlsRelay
from dmp_connector.model import Actor
from dmp_connector.signer import FileSigner, Signer
from mssgw.core.config.dmp import DmpActor
from mssgw.dossier.setup import Setup, actor_of
from mssgw.dossier.values import AskPin


@dataclass(frozen=True, slots=True)
class Holder:
    """The actor and the signer. `card` and `relay` None: keys in files."""

    actor: Actor
    signer: Signer
    card: CardSession | None = None
    relay: TlsRelay | None = None


async def holder_of(
    stack: AsyncExitStack, setup: Setup, who: DmpActor, tables: codes.CodeTables, pin: AskPin, now: datetime
) -> Holder:  # fmt: skip
    """`stack` closes the card and the relay. Raises CardError (no card, a wrong PIN), BadCertificate, BadCode, RelayDown."""
    if who.key is not None:
        if who.certificate is None:
            raise AssertionError("the configuration is checked for this")
        signer = await asyncio.to_thread(FileSigner.load, who.certificate, who.key.path)
        return Holder(actor_of(who, now, tables), signer)
    reader = stack.enter_context(await asyncio.to_thread(Pkcs11CardReader, setup.module, reader=setup.table.card_reader))
    seen = await asyncio.to_thread(reader.see)
    code = await pin(seen.tries_left)
    card = await asyncio.to_thread(reader.open, code, now)
    relay = await _relay(stack, setup, card, code) if setup.table.certificate is None else None
    return Holder(_card_actor(card, who, now), card.signer, card, relay)


def _card_actor(card: CardSession, who: DmpActor, now: datetime) -> Actor:
    """Card data are forced (EX_2.1-1140); the configuration only chooses among the card's places of work."""
    places = [a.structure for a in card.card.activities]
    return card.card.actor(places.index(who.structure_id) if who.structure_id in places else 0, now)


async def _relay(stack: AsyncExitStack, setup: Setup, card: CardSession, pin: str) -> TlsRelay:
    """Mutual TLS with the card's own key."""
    certificate = await asyncio.to_thread(_certificate, stack, card)
    address = urlsplit(setup.table.url)
    host, port = address.hostname or "", address.port or 443
    identity = card.card.serial, card.card.authentication_id
    settings = RelaySettings(setup.module, *identity, certificate, host, port, setup.table.anchors)
    return await stack.enter_async_context(TlsRelay(settings, pin))


def _certificate(stack: AsyncExitStack, card: CardSession) -> Path:
    """The card's authentication certificate as a file that the relay reads."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mssgw-card-")))
    certificate = folder / "authentication.pem"
    certificate.write_bytes(x509.load_der_x509_certificate(card.card.authentication).public_bytes(Encoding.PEM))
    return certificate
