"""From the configuration or a reference to a Key: a file, or an object in a token."""

from __future__ import annotations

import threading
from typing import Final

from mssgw.core.config.base import Secret
from mssgw.core.config.smime import Smime
from mssgw.core.errors import ConfigError, Mistake
from mssgw.core.texts import message
from mssgw.core.tokens import Named, TokenReference
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import FileKey, Key
from mssgw.smime.keys.tokens import Pkcs11Key, Token, TokenPlace

_tokens: Final[dict[tuple[str, ...], Token]] = {}  # one worker process per token, whatever the number of its keys
_lock = threading.Lock()


def key_at(reference: Secret, certificate: Certificate, settings: Smime) -> Key:
    """The key a setting names. Nothing is read or opened yet. Raises ConfigError when the reference is incomplete."""
    if reference.scheme != "pkcs11":
        return FileKey(reference, settings.key_passphrase)
    try:
        named = Named.parse(reference.name)
    except Mistake as error:
        raise ConfigError([(str(reference), error.message)]) from error
    if settings.pkcs11_module is None or settings.pkcs11_pin is None:
        raise ConfigError([("smime.pkcs11_module", message("config.token-needs", secret=reference))])
    place = TokenPlace(settings.pkcs11_module, named.token, settings.pkcs11_pin, named.serial)
    return Pkcs11Key(token_at(place), certificate, label=named.object, identifier=named.identifier)


def place_of(reference: TokenReference, settings: Smime) -> TokenPlace:
    """Raises ConfigError when no module is known."""
    module = reference.module or settings.pkcs11_module
    if module is None:
        raise ConfigError([("smime.pkcs11_module", message("config.token-module", token=reference.name))])
    return TokenPlace(module, reference.key.token, reference.pin, reference.key.serial)


def key_in(reference: TokenReference, certificate: Certificate, settings: Smime) -> Pkcs11Key:
    """Nothing is opened yet. Raises ConfigError."""
    return Pkcs11Key(token_at(place_of(reference, settings)), certificate, label=reference.key.object, identifier=reference.key.identifier)


def token_at(place: TokenPlace) -> Token:
    """The token of this process, shared by all its keys."""
    with _lock:
        return _tokens.setdefault((str(place.module), place.label, str(place.pin), place.serial or ""), Token(place))
