"""The process that holds one PKCS#11 token: module, session and PIN live here and nowhere else.

    python -P token_worker.py        (started by `tokens` as a file, to import nothing else of the project)

Requests and answers go over standard input and output. Frames are 4 octets of length and a msgpack value. First a
hello with module, token and where the PIN is kept (of a person's token: what they typed); then one request after the other.
A removal or a fault of the token ends the process: the next one starts from nothing, which is the only state
in which a fragile module is reliable (docs/reference/crypto.md 1.4, 5). The PIN is tried once; when its
counter is low it is not tried at all.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import IO, Any

import msgspec

LENGTH = struct.Struct(">I")
MAX_FRAME = 1 << 20


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


def _login(hello: dict[str, Any]) -> Any:
    try:
        import pkcs11
        from pkcs11 import exceptions
    except ImportError as error:
        raise Refusal("absent", "python-pkcs11 is not installed: pip install python-pkcs11") from error
    if not Path(hello["module"]).is_file():
        raise Refusal("absent", f"there is no PKCS#11 library {hello['module']}")
    try:
        library = pkcs11.lib(hello["module"])
        token = library.get_token(token_label=hello["token"])
    except (exceptions.NoSuchToken, exceptions.MultipleTokensReturned) as error:
        raise Refusal("absent", type(error).__name__) from error
    except (exceptions.PKCS11Error, RuntimeError) as error:
        raise Refusal("absent", f"{type(error).__name__}: {hello['module']}") from error
    counted = pkcs11.TokenFlag.USER_PIN_LOCKED | pkcs11.TokenFlag.USER_PIN_FINAL_TRY
    if "typed" not in hello:  # a person who sees the refusal may try again, but not with the last try
        counted |= pkcs11.TokenFlag.USER_PIN_COUNT_LOW
    if token.flags & counted:
        raise Refusal("pin", "the token counts wrong PINs already; log in once by hand")
    try:
        pin = hello["typed"] if "typed" in hello else Path(hello["pin"]).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("absent", "the PIN can't be read") from error
    try:
        return token.open(user_pin=pin)
    except (exceptions.PinIncorrect, exceptions.PinLocked, exceptions.PinExpired, exceptions.PinInvalid, exceptions.PinLenRange) as error:
        raise Refusal("pin", type(error).__name__) from error
    except exceptions.PKCS11Error as error:
        raise Refusal("absent", type(error).__name__) from error


class TokenSession:
    """Keys by name and identifier, found once."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._found: dict[tuple[str | None, bytes | None], Any] = {}

    def key(self, label: str | None, identifier: bytes | None) -> Any:
        from pkcs11 import Attribute, ObjectClass

        name = label, identifier
        if name not in self._found:
            wanted: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
            if label is not None:
                wanted[Attribute.LABEL] = label
            if identifier is not None:
                wanted[Attribute.ID] = identifier
            objects = list(self._session.get_objects(wanted))
            if len(objects) != 1:  # docs/reference/crypto.md 9.33: never guess between two objects of one label
                raise Refusal("object", f"{len(objects)} private keys of that name")
            self._found[name] = objects[0]
        return self._found[name]

    def answer(self, request: dict[str, Any]) -> bytes:
        from pkcs11 import KDF, Attribute, KeyType, Mechanism
        from pkcs11.mechanisms import MGF

        key, data = self.key(request["label"], request["id"]), request["data"]
        hashed = {
            "sha1": (Mechanism.SHA_1, MGF.SHA1, 20),
            "sha256": (Mechanism.SHA256, MGF.SHA256, 32),
            "sha384": (Mechanism.SHA384, MGF.SHA384, 48),
            "sha512": (Mechanism.SHA512, MGF.SHA512, 64),
        }
        match request["verb"]:
            case "rsa-v1.5":
                return bytes(key.sign(data, mechanism=Mechanism.RSA_PKCS))
            case "rsa-pss":
                mechanism, mask, _ = hashed[request["hash"]]
                return bytes(key.sign(data, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=(mechanism, mask, request["salt"])))
            case "ecdsa":
                return bytes(key.sign(data, mechanism=Mechanism.ECDSA))
            case "unwrap-v1.5":
                return bytes(key.decrypt(data, mechanism=Mechanism.RSA_PKCS))
            case "unwrap-oaep":
                mechanism, mask = hashed[request["hash"]][0], hashed[request["mask"]][1]
                return bytes(key.decrypt(data, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=(mechanism, mask, None)))
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
        session = TokenSession(_login(receive(requests)))
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


def _serve(session: TokenSession, requests: IO[bytes], answers: IO[bytes]) -> int:
    from pkcs11.exceptions import PKCS11Error

    while True:
        try:
            request = receive(requests)
        except EOFError:
            return 0
        try:
            send(answers, {"data": session.answer(request)})
        except Refusal as refusal:
            send(answers, {"refused": refusal.word, "text": refusal.text})
        except PKCS11Error as error:
            name = type(error).__name__
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
