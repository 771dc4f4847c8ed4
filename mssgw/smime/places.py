"""From the configuration to a Key: a file, or an object in a token."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from mssgw.core.config.base import Secret
from mssgw.core.config.smime import Smime
from mssgw.core.errors import ConfigError, Mistake
from mssgw.core.texts import message
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import FileKey, Key
from mssgw.smime.keys.tokens import Pkcs11Key, Token, TokenPlace

_tokens: Final[dict[tuple[str, str, str], Token]] = {}  # one worker process per token, whatever the number of its keys
_lock = threading.Lock()


def key_at(reference: Secret, certificate: Certificate, settings: Smime) -> Key:
    """The key a setting names. Nothing is read or opened yet. Raises ConfigError when the reference is incomplete."""
    if reference.scheme != "pkcs11":
        return FileKey(reference, settings.key_passphrase)
    token, label, identifier = _read(reference)
    if settings.pkcs11_module is None or settings.pkcs11_pin is None:
        raise ConfigError([("smime.pkcs11_module", message("config.token-needs", secret=reference))])
    place = TokenPlace(settings.pkcs11_module, token, settings.pkcs11_pin)
    return Pkcs11Key(_token(place), certificate, label=label, identifier=identifier)


@dataclass(frozen=True, slots=True)
class TokenReference:
    """One private key in a token, as RFC 7512 writes it:

        pkcs11:token=LABEL;object=NAME;id=HEX?module-path=FILE&pin-source=file:FILE

    object or id, or both. Without a module it is that of the configuration; without a PIN source a person unlocks it.
    """

    token: str
    object: str | None
    identifier: bytes | None
    module: Path | None
    pin: Secret | None

    @classmethod
    def parse(cls, text: str) -> TokenReference:
        """Raises Mistake."""
        path, _, query = text.removeprefix("pkcs11:").partition("?")
        if not text.startswith("pkcs11:"):
            raise Mistake("config.token")
        token, label, identifier = _named(path)
        more = dict(part.partition("=")[::2] for part in query.split("&") if part)
        if set(more) - {"module-path", "pin-source"}:
            raise Mistake("config.token-query")
        module, pin = more.get("module-path"), more.get("pin-source")
        return cls(token, label, identifier, Path(unquote(module)) if module else None, Secret.parse(unquote(pin)) if pin else None)

    def at(self, settings: Smime) -> Token:
        """The token, shared by all its keys. Raises ConfigError when no module is known."""
        module = self.module or settings.pkcs11_module
        if module is None:
            raise ConfigError([("smime.pkcs11_module", message("config.token-module", token=self.token))])
        return _token(TokenPlace(module, self.token, self.pin))

    def key(self, certificate: Certificate, settings: Smime) -> Key:
        """Nothing is opened yet. Raises ConfigError."""
        return Pkcs11Key(self.at(settings), certificate, label=self.object, identifier=self.identifier)


def _token(place: TokenPlace) -> Token:
    with _lock:
        return _tokens.setdefault((str(place.module), place.label, str(place.pin)), Token(place))


def _read(reference: Secret) -> tuple[str, str | None, bytes | None]:
    """(token, object, id) of `token=LABEL;object=NAME;id=HEX` (after RFC 7512 2.3)."""
    try:
        return _named(reference.name)
    except Mistake as error:
        raise ConfigError([(str(reference), error.message)]) from error


def _named(path: str) -> tuple[str, str | None, bytes | None]:
    """Raises Mistake."""
    given = {name: unquote(value) for name, _, value in (part.partition("=") for part in path.split(";"))}
    try:
        identifier = bytes.fromhex(given["id"]) if "id" in given else None
    except ValueError as error:
        raise Mistake("config.token-id") from error
    if not given.get("token") or not (given.get("object") or identifier) or set(given) - {"token", "object", "id"}:
        raise Mistake("config.token")
    return given["token"], given.get("object"), identifier
