"""CardReader over PKCS#11: see the card, open it with the PIN, sign with it, notice that it left.

    reader = Pkcs11CardReader(module)          reader.see() -> Card                (no PIN)
    session = reader.open(pin, now)            session.signer, session.card, session.require_present(), session.close()

All calls block (a CPS signs in 200 ms and more): from an event loop, in a thread. Errors are CardError: no
reader, no card, wrong PIN with the tries left, locked, expired, removed. A wrong PIN is never tried again by us.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dmp_connector.card.cps import AUTHENTICATION_ID, SIGNATURE_ID, Activity, Card, parse_activity
from dmp_connector.child import Child, ChildGone
from dmp_connector.errors import (
    CardError,
    CardRemoved,
    CardUnreadable,
    NoCard,
    NoReader,
    PinLocked,
    WrongPin,
)
from dmp_connector.signer import Algorithm
from dmp_connector.texts import message

_ERRORS: Mapping[str, type[CardError]] = {
    "CardRemoved": CardRemoved,
    "CardUnreadable": CardUnreadable,
    "NoCard": NoCard,
    "NoReader": NoReader,
    "PinLocked": PinLocked,
}
_SECONDS = 30.0  # a card that needs longer is hanging

# Where the Cryptolib CPS puts its module (docs/reference/crypto.md 1.4).
KNOWN_MODULES = (
    Path("/opt/santesocial/CPS/lib/libcps3_pkcs11_lux.so"),
    Path("/usr/lib64/libcps3_pkcs11_lux.so"),
    Path("/usr/lib/libcps3_pkcs11.so"),
    Path("/usr/local/lib/libcps3_pkcs11.so"),
)


class Pkcs11CardReader:
    """One module in one child process. `reader`: part of the reader's name, when several have a card."""

    def __init__(self, module: Path, *, reader: str = "") -> None:
        if not module.is_file():
            raise NoReader(message("card.pkcs-11-module-not-installed", module=module))
        self._module, self._wanted = module, reader
        self._child: Child | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Pkcs11CardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def see(self) -> Card:
        """The card in the reader, without PIN. Raises NoReader, NoCard, CardUnreadable."""
        slots = self.ask("slots")["slots"]
        if not slots:
            raise NoReader(message("card.module-sees-no-reader"))
        cards = [
            s for s in slots if s["token"] and self._wanted in s["reader"] and _keys(s["certificates"]) >= {AUTHENTICATION_ID, SIGNATURE_ID}
        ]
        if not cards:
            raise NoCard(message("card.no-reader-holds-professional-card"))
        if len(cards) > 1:
            raise CardUnreadable(message("card.professional-cards-say-which-reader", count=len(cards)))
        return _card(cards[0], cards[0]["objects"], with_activities=False)

    def open(self, pin: str, now: datetime) -> CardSession:
        """Refuse an expired card, then log in once. Raises CardExpired, WrongPin(tries_left), PinLocked ..."""
        seen = self.see()
        seen.require_valid(now)
        if seen.tries_left == 0:
            raise PinLocked(message("card.pin-locked"))
        opened = self.ask("open", serial=seen.serial, pin=pin)
        activities = _activities(opened["objects"])
        card = replace(seen, activities=activities)
        return CardSession(self, card)

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """One question to the worker, started on demand. Raises CardError."""
        with self._lock:
            try:
                if self._child is None:
                    self._child = Child("dmp_connector.card.pkcs11_worker")
                    _raise(self._child.ask(json.dumps({"do": "load", "module": str(self._module)}).encode(), seconds=_SECONDS))
                answer = self._child.ask(json.dumps({"do": verb, **arguments}).encode(), seconds=_SECONDS)
            except ChildGone as error:
                self._child = None
                raise CardUnreadable(message("card.card-module-ended", error=str(error))) from error
        return _raise(answer)

    def close(self) -> None:
        """End the worker: the card is logged out and its PIN forgotten."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.stop()


class CardSession:
    """A card opened with its PIN."""

    def __init__(self, reader: Pkcs11CardReader, card: Card) -> None:
        self._reader, self.card = reader, card
        self.signer = CardSigner(reader, card.signature, SIGNATURE_ID)
        self.authenticator = CardSigner(reader, card.authentication, AUTHENTICATION_ID)

    def __enter__(self) -> CardSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def require_present(self) -> None:
        """Raise CardRemoved when the card left its reader."""
        if not self._reader.ask("present")["present"]:
            raise CardRemoved(message("card.card-no-longer-reader"))

    def close(self) -> None:
        """Log out and end the session; a second time does nothing."""
        self._reader.close()


class CardSigner:
    """A `signer.Signer` whose key never leaves the card."""

    def __init__(self, reader: Pkcs11CardReader, certificate: bytes, key: int) -> None:
        self._reader, self._certificate, self._key = reader, certificate, key

    @property
    def certificate(self) -> bytes:
        """The signature certificate of the card, DER."""
        return self._certificate

    def sign(self, data: bytes, algorithm: Algorithm) -> bytes:
        """RSASSA-PKCS1-v1_5 over `data` by the key in the card (RFC 8017 8.2). Blocks. Raises CardRemoved, CardError."""
        encoded = base64.b64encode(data).decode("ascii")
        return base64.b64decode(self._reader.ask("sign", key=self._key, hash=algorithm.hashlib_name, data=encoded)["signature"])


def _raise(answer: dict[str, Any]) -> dict[str, Any]:
    name = answer.get("error")
    if name is None:
        return answer
    if name == "WrongPin":
        raise WrongPin(answer.get("tries"))
    raise _ERRORS.get(name, CardUnreadable)(message("words", words=answer.get("detail", name)))


def _keys(certificates: Mapping[str, str]) -> set[int]:
    return {bytes.fromhex(identity)[-1] for identity in certificates if identity}


def _card(slot: Mapping[str, Any], objects: Mapping[str, str], *, with_activities: bool) -> Card:
    by_key = {bytes.fromhex(identity)[-1]: base64.b64decode(value) for identity, value in slot["certificates"].items() if identity}
    token = slot["token"]
    return Card(
        serial=token["serial"],
        reader=slot["reader"],
        authentication=by_key[AUTHENTICATION_ID],
        signature=by_key[SIGNATURE_ID],
        info=base64.b64decode(objects.get("CPS_INFO_PS", "")),
        activities=_activities(objects) if with_activities else (),
        tries_left=token["tries"],
        authentication_id=next(i for i in slot["certificates"] if i and bytes.fromhex(i)[-1] == AUTHENTICATION_ID),
    )


def _activities(objects: Mapping[str, str]) -> tuple[Activity, ...]:
    """In the order of their numbers; holes are allowed (docs/reference/crypto.md 1.4)."""
    named = sorted(name for name in objects if name.startswith("CPS_ACTIVITY_"))
    return tuple(parse_activity(base64.b64decode(objects[name])) for name in named)
