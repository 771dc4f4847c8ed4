"""From the configuration to a Key: a file, or an object in a token."""

from __future__ import annotations

import threading
from typing import Final

from mssgw.core.config.base import Secret
from mssgw.core.config.smime import Smime
from mssgw.core.errors import ConfigError
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
        raise ConfigError([("smime.pkcs11_module", f"{reference} needs smime.pkcs11_module and smime.pkcs11_pin")])
    place = TokenPlace(settings.pkcs11_module, token, settings.pkcs11_pin)
    with _lock:
        found = _tokens.setdefault((str(place.module), place.label, str(place.pin)), Token(place))
    return Pkcs11Key(found, certificate, label=label, identifier=identifier)


def _read(reference: Secret) -> tuple[str, str | None, bytes | None]:
    """(token, object, id) of `token=LABEL;object=NAME;id=HEX` (after RFC 7512 2.3)."""
    given = dict(part.partition("=")[::2] for part in reference.name.split(";"))
    try:
        identifier = bytes.fromhex(given["id"].replace("%", "")) if "id" in given else None
    except ValueError as error:
        raise ConfigError([(str(reference), "id is not hexadecimal")]) from error
    if not given.get("token") or not (given.get("object") or identifier) or set(given) - {"token", "object", "id"}:
        raise ConfigError([(str(reference), "expected pkcs11:token=LABEL;object=NAME, or ;id=HEX")])
    return given["token"], given.get("object"), identifier
