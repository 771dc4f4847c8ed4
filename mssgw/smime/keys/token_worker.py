"""The process that holds one PKCS#11 token: module, session and PIN live here and nowhere else.

    python -P token_worker.py        (started by `tokens` as a file, to import nothing else of the project)

Requests and answers go over standard input and output. Frames are 4 octets of length and a msgpack value. First a
hello with module, token and where the PIN is kept (of a person's token: what they typed); then one request after the other.
A removal or a fault of the token ends the process: the next one starts from nothing, which is the only state
in which a fragile module is reliable (docs/reference/crypto.md 1.4, 5). The PIN is tried once; when its
counter is low it is not tried at all. A key that wants the PIN at each use (CKA_ALWAYS_AUTHENTICATE, PKCS#11 2.40 4.9: the signature
key of a card) gets the one of the session. A person's token is looked at every second, so that the PIN goes with the card.
"""

from __future__ import annotations

import select
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

LENGTH = struct.Struct(">I")
MAX_FRAME = 1 << 20
LOOK = 1.0  # seconds between two looks at whether a person's card is still there


def send(stream: IO[bytes], value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next value. Raises EOFError when the other side is gone."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    size = LENGTH.unpack(head)[0]
    data = stream.read(size) if size <= MAX_FRAME else b""
    if len(data) < size or size > MAX_FRAME:
        raise EOFError
    return msgspec.msgpack.decode(data)


class Refusal(Exception):
    """A request that can't be done, with the word by which `tokens` recognises it."""

    def __init__(self, word: str, text: str = "") -> None:
        self.word, self.text = word, text
        super().__init__(word)


def _login(hello: dict[str, Any]) -> TokenSession:
    try:
        import pkcs11
        from pkcs11 import exceptions
    except ImportError as error:
        raise Refusal("absent", "python-pkcs11 is not installed: pip install python-pkcs11") from error
    if not Path(hello["module"]).is_file():
        raise Refusal("absent", f"there is no PKCS#11 library {hello['module']}")
    serial = hello["serial"].encode() if hello["serial"] else None
    try:
        library = pkcs11.lib(hello["module"])
        token = library.get_token(token_label=hello["token"], token_serial=serial)
    except (exceptions.NoSuchToken, exceptions.MultipleTokensReturned) as error:
        raise Refusal("absent", type(error).__name__) from error
    except (exceptions.PKCS11Error, RuntimeError) as error:
        raise Refusal("absent", f"{type(error).__name__}: {hello['module']}") from error
    try:
        pin = hello["typed"] if "typed" in hello else Path(hello["pin"]).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("absent", "the PIN can't be read") from error
    found = TokenSession(library, token, pin, typed="typed" in hello)
    found.open()
    return found


class TokenSession:
    """A session that is logged in, and its keys by name and identifier, found once. `typed`: a person gave the PIN."""

    def __init__(self, library: Any, token: Any, pin: str, *, typed: bool) -> None:
        self._library, self._token, self._pin, self.typed = library, token, pin, typed
        self._session: Any = None
        self._found: dict[tuple[str | None, bytes | None], tuple[Any, bool]] = {}

    def open(self) -> None:
        """Raises Refusal."""
        from pkcs11 import exceptions

        try:
            self._require_tries()
            self._session = self._token.open(user_pin=self._pin)
        except exceptions.PKCS11Error as error:
            raise Refusal("pin" if isinstance(error, _wrong_pin()) else "absent", type(error).__name__) from error

    def _require_tries(self) -> None:
        from pkcs11 import TokenFlag

        if self._token.flags & TokenFlag.USER_PIN_LOCKED:
            raise Refusal("blocked", "too many wrong PINs")
        counted = TokenFlag.USER_PIN_FINAL_TRY
        if not self.typed:  # a person who sees the refusal may try again, but not with the last try
            counted |= TokenFlag.USER_PIN_COUNT_LOW
        if self._token.flags & counted:
            raise Refusal("last-try", "the token counts wrong PINs already; log in once by hand")

    def require_present(self) -> None:
        """Raises PKCS11Error or Refusal when the token was pulled, even if it is back. Sends nothing to a card."""
        from pkcs11 import Attribute, ObjectClass

        if self._token.slot.slot_id not in [one.slot_id for one in self._library.get_slots(token_present=True)]:
            raise Refusal("gone", "TokenNotPresent")
        if not list(self._session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})):  # a session does not outlive its token
            raise Refusal("gone", "no private key is seen any more")

    def key(self, label: str | None, identifier: bytes | None) -> tuple[Any, bool]:
        """A private key, and whether it asks for the PIN at each use. Raises Refusal, PKCS11Error."""
        from pkcs11 import Attribute, ObjectClass
        from pkcs11.exceptions import PKCS11Error

        name = label, identifier
        if name not in self._found:
            wanted: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
            if label is not None:
                wanted[Attribute.LABEL] = label
            if identifier is not None:
                wanted[Attribute.ID] = identifier
            objects = list(self._session.get_objects(wanted))
            if not objects:
                self.require_present()
            if len(objects) != 1:  # docs/reference/crypto.md 9.33: never guess between two objects of one label
                raise Refusal("object", f"{len(objects)} private keys of that name")
            asks = False
            with suppress(PKCS11Error):  # a module may not know the attribute
                asks = bool(objects[0][Attribute.ALWAYS_AUTHENTICATE])
            self._found[name] = objects[0], asks
        return self._found[name]

    def answer(self, request: dict[str, Any]) -> bytes:
        from pkcs11 import KDF, Attribute, KeyType, Mechanism
        from pkcs11.mechanisms import MGF

        if request["verb"] == "session":
            self.require_present()
            return b""
        (key, asks), data = self.key(request["label"], request["id"]), request["data"]
        proof = {"pin": self._pin} if asks else {}  # CKU_CONTEXT_SPECIFIC; a refused one ends the session
        hashed = {
            "sha1": (Mechanism.SHA_1, MGF.SHA1, 20),
            "sha256": (Mechanism.SHA256, MGF.SHA256, 32),
            "sha384": (Mechanism.SHA384, MGF.SHA384, 48),
            "sha512": (Mechanism.SHA512, MGF.SHA512, 64),
        }
        match request["verb"]:
            case "rsa-v1.5":
                return bytes(key.sign(data, mechanism=Mechanism.RSA_PKCS, **proof))
            case "rsa-pss":
                mechanism, mask, _ = hashed[request["hash"]]
                return bytes(key.sign(data, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=(mechanism, mask, request["salt"]), **proof))
            case "ecdsa":
                return bytes(key.sign(data, mechanism=Mechanism.ECDSA, **proof))
            case "unwrap-v1.5":
                return bytes(key.decrypt(data, mechanism=Mechanism.RSA_PKCS, **proof))
            case "unwrap-oaep":
                mechanism, mask = hashed[request["hash"]][0], hashed[request["mask"]][1]
                return bytes(key.decrypt(data, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=(mechanism, mask, None), **proof))
            case "agree":
                if not hasattr(key, "derive_key"):
                    raise Refusal("object", "the token does not allow key agreement with this key")
                secret = key.derive_key(
                    KeyType.GENERIC_SECRET,
                    request["size"] * 8,
                    mechanism=Mechanism.ECDH1_DERIVE,
                    mechanism_param=(KDF.NULL, None, data),
                    template={Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False},
                )
                return bytes(secret[Attribute.VALUE])
            case _:
                raise Refusal("request")


def main() -> int:
    """One token, until the parent or the token is gone."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        session = _login(receive(requests))
    except Refusal as refusal:
        send(answers, {"refused": refusal.word, "text": refusal.text})
        return 1
    except (EOFError, ImportError) as error:
        send(answers, {"refused": "absent", "text": type(error).__name__})
        return 1
    send(answers, {"ready": True})
    return _serve(session, requests, answers)


# Errors that concern this one input and not the token: the session goes on.
_BAD_INPUT = frozenset(
    (
        "EncryptedDataInvalid",
        "EncryptedDataLenRange",
        "DataInvalid",
        "DataLenRange",
        "MechanismParamInvalid",
        "MechanismInvalid",
        "ArgumentsBad",
        "FunctionFailed",
    )
)

_NOT_KNOWN = frozenset(("MechanismParamInvalid", "MechanismInvalid", "ArgumentsBad"))  # of a mechanism with these parameters


def _wrong_pin() -> tuple[type[Exception], ...]:
    from pkcs11.exceptions import PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked

    return PinIncorrect, PinLocked, PinExpired, PinInvalid, PinLenRange


def _serve(session: TokenSession, requests: IO[bytes], answers: IO[bytes]) -> int:
    from pkcs11.exceptions import PKCS11Error

    while True:
        try:
            while session.typed and not select.select([requests], [], [], LOOK)[0]:
                session.require_present()
            request = receive(requests)
        except EOFError:
            return 0
        except (Refusal, PKCS11Error):
            return 1
        try:
            send(answers, {"data": session.answer(request)})
        except Refusal as refusal:
            send(answers, {"refused": refusal.word, "text": refusal.text})
            if refusal.word == "pin":
                return 1
        except PKCS11Error as error:
            name = type(error).__name__
            if isinstance(error, _wrong_pin()):
                send(answers, {"refused": "pin", "text": name})
                return 1
            unwrapping = request["verb"] in ("unwrap-v1.5", "unwrap-oaep", "agree")
            if request["verb"] == "unwrap-oaep" and name in _NOT_KNOWN:
                send(answers, {"refused": "mechanism", "text": f"with {request['hash']} and {request['mask']}"})
                continue
            if unwrapping and (name in _BAD_INPUT or name == "GeneralError"):
                send(answers, {"refused": "data", "text": ""})
                continue
            send(answers, {"refused": "gone", "text": name})
            return 1
        except Exception as error:
            send(answers, {"refused": "gone", "text": f"bug: {type(error).__name__}"})
            raise


if __name__ == "__main__":
    raise SystemExit(main())
