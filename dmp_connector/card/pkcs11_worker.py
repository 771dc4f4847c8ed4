"""The process that holds a PKCS#11 module: `python -m dmp_connector.card.pkcs11_worker`, asked over its pipe.

Card modules are old C code whose sessions fail with threads (docs/reference/crypto.md 5): one process per reader, one
question at a time, ended by its parent when it hangs. The PIN comes over the pipe, is used once and forgotten.

Questions are JSON objects with `do`: load, slots, open, sign, present, close. Answers have `error` or a result.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from dmp_connector.child import receive, send

_OBJECTS = ("CPS_INFO_PS", *(f"CPS_ACTIVITY_{n:02d}_PS" for n in range(1, 17)))


class Holder:
    """Module, session and token. Every method returns what goes back as JSON."""

    def __init__(self) -> None:
        self.module: Any = None
        self.token: Any = None
        self.session: Any = None

    def load(self, module: str) -> dict[str, Any]:
        """Load the PKCS#11 module at this path. Raises the module's own error when it is none."""
        import pkcs11

        self.module = pkcs11.lib(module)
        return {"ok": True, "library": self.module.library_description.strip()}

    def slots(self) -> dict[str, Any]:
        """Reader by reader, with the token in it; the public objects need no PIN."""
        found = []
        for slot in self.module.get_slots():
            token = _token(slot)
            entry: dict[str, Any] = {"slot": slot.slot_id, "reader": slot.slot_description.strip(), "token": None}
            if token is not None:
                entry["token"] = {"serial": _text(token.serial), "label": token.label, "model": _text(token.model), "tries": _tries(token)}
                entry |= self._public(token)
            found.append(entry)
        return {"slots": found}

    def _public(self, token: Any) -> dict[str, Any]:
        from pkcs11 import Attribute, ObjectClass

        with token.open() as session:
            certificates = {
                c[Attribute.ID].hex(): _b64(c[Attribute.VALUE]) for c in session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE})
            }
            objects = {
                o[Attribute.LABEL]: _b64(o[Attribute.VALUE])
                for o in session.get_objects({Attribute.CLASS: ObjectClass.DATA})
                if o[Attribute.LABEL] in _OBJECTS
            }
        return {"certificates": certificates, "objects": objects}

    def open(self, serial: str, pin: str) -> dict[str, Any]:
        """Log in: one try, never repeated (each wrong PIN uses up one of three)."""
        from pkcs11 import Attribute, ObjectClass

        self.close()
        self.token = next((t for s in self.module.get_slots() if (t := _token(s)) is not None and _text(t.serial) == serial), None)
        if self.token is None:
            return {"error": "CardRemoved"}
        self.session = self.token.open(user_pin=pin)
        objects = {
            o[Attribute.LABEL]: _b64(o[Attribute.VALUE])
            for o in self.session.get_objects({Attribute.CLASS: ObjectClass.DATA})
            if o[Attribute.LABEL] in _OBJECTS
        }
        return {"objects": objects}

    def sign(self, key: int, hash: str, data: str) -> dict[str, Any]:
        """RSASSA-PKCS1-v1_5 with the key whose CKA_ID ends with `key`; the card hashes (CKM_SHA256_RSA_PKCS)."""
        from pkcs11 import Attribute, Mechanism, ObjectClass

        if self.session is None:
            return {"error": "CardRemoved"}
        mechanism = {"sha256": Mechanism.SHA256_RSA_PKCS, "sha1": Mechanism.SHA1_RSA_PKCS}[hash]
        # A list: while a search is open the module takes no other operation.
        for private in list(self.session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})):
            if private[Attribute.ID][-1:] == bytes((key,)):
                return {"signature": _b64(private.sign(base64.b64decode(data), mechanism=mechanism))}
        return {"error": "CardUnreadable"}

    def present(self) -> dict[str, Any]:
        """Is the token we opened still in its reader?"""
        if self.token is None:
            return {"present": False}
        serial = _text(self.token.serial)
        return {
            "present": any((t := _token(s)) is not None and _text(t.serial) == serial for s in self.module.get_slots(token_present=True))
        }

    def close(self) -> dict[str, Any]:
        """End the session, when there is one."""
        session, self.session, self.token = self.session, None, None
        if session is not None:
            session.close()
        return {"ok": True}


def _token(slot: Any) -> Any:
    import pkcs11
    from pkcs11 import TokenFlag

    try:
        token = slot.get_token()
    except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised, pkcs11.SlotIDInvalid):
        return None
    return token if TokenFlag.TOKEN_INITIALIZED in token.flags else None


def _tries(token: Any) -> int | None:
    """PKCS#11 has three flags for the PIN counter; a CPS has three tries."""
    from pkcs11 import TokenFlag

    if TokenFlag.USER_PIN_LOCKED in token.flags:
        return 0
    if TokenFlag.USER_PIN_FINAL_TRY in token.flags:
        return 1
    return 2 if TokenFlag.USER_PIN_COUNT_LOW in token.flags else 3


def _text(value: Any) -> str:
    return value.decode("ascii", "replace").strip() if isinstance(value, bytes) else str(value).strip()


def _b64(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode("ascii")


# PKCS#11 exception -> error of ours. What is not here is CardUnreadable, with the name.
_ERRORS = {
    "PinIncorrect": "WrongPin",
    "PinLenRange": "WrongPin",
    "PinInvalid": "WrongPin",
    "PinLocked": "PinLocked",
    "PinExpired": "PinLocked",
    "DeviceRemoved": "CardRemoved",
    "TokenNotPresent": "CardRemoved",
    "SessionHandleInvalid": "CardRemoved",
    "SessionClosed": "CardRemoved",
    "NoSuchToken": "NoCard",
}


def answer(holder: Holder, question: dict[str, Any]) -> dict[str, Any]:
    """One answer; never raises: the reason travels by name."""
    wanted = dict(question)
    verb = wanted.pop("do", "")
    if verb not in {"load", "slots", "open", "sign", "present", "close"}:
        return {"error": "CardUnreadable", "detail": f"unknown question {verb!r}"}
    try:
        result: dict[str, Any] = getattr(holder, verb)(**wanted)
        return result
    except Exception as error:  # a C module can raise anything; the parent must get an answer in every case
        name = type(error).__name__
        tries = _tries(holder.token) if holder.token is not None and _ERRORS.get(name) == "WrongPin" else None
        return {"error": _ERRORS.get(name, "CardUnreadable"), "detail": name, "tries": tries}


def main() -> None:
    """Answer one JSON question after the other on standard input, until it ends."""
    holder = Holder()
    while (message := receive(sys.stdin.buffer)) is not None:
        send(sys.stdout.buffer, json.dumps(answer(holder, json.loads(message))).encode())


if __name__ == "__main__":
    main()
