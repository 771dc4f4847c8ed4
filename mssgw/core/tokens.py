"""How a key in a PKCS#11 token is named (RFC 7512). Nothing here opens a token; `smime.places` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mssgw.core.config.base import Secret
from mssgw.core.errors import Mistake


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
        token, label, identifier = named(path)
        more = dict(part.partition("=")[::2] for part in query.split("&") if part)
        if set(more) - {"module-path", "pin-source"}:
            raise Mistake("config.token-query")
        module, pin = more.get("module-path"), more.get("pin-source")
        return cls(token, label, identifier, Path(unquote(module)) if module else None, Secret.parse(unquote(pin)) if pin else None)


def named(path: str) -> tuple[str, str | None, bytes | None]:
    """(token, object, id) of `token=LABEL;object=NAME;id=HEX` (RFC 7512 2.3). Raises Mistake."""
    given = {name: unquote(value) for name, _, value in (part.partition("=") for part in path.split(";"))}
    try:
        identifier = bytes.fromhex(given["id"]) if "id" in given else None
    except ValueError as error:
        raise Mistake("config.token-id") from error
    if not given.get("token") or not (given.get("object") or identifier) or set(given) - {"token", "object", "id"}:
        raise Mistake("config.token")
    return given["token"], given.get("object"), identifier
