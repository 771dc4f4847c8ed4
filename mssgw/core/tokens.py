"""How a key in a PKCS#11 token is named (RFC 7512). Nothing here opens a token; `smime.places` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mssgw.core.config.base import Secret
from mssgw.core.errors import Mistake


@dataclass(frozen=True, slots=True)
class Named:
    """A key by the token it is in (label, and serial number where labels repeat) and its own label, identifier or both."""

    token: str
    serial: str | None
    object: str | None
    identifier: bytes | None

    @classmethod
    def parse(cls, path: str) -> Named:
        """Of `token=LABEL;serial=NUMBER;object=NAME;id=HEX` (RFC 7512 2.3). Raises Mistake."""
        given = {name: unquote(value) for name, _, value in (part.partition("=") for part in path.split(";"))}
        try:
            identifier = bytes.fromhex(given["id"]) if "id" in given else None
        except ValueError as error:
            raise Mistake("config.token-id") from error
        if not given.get("token") or not (given.get("object") or identifier) or set(given) - {"token", "serial", "object", "id"}:
            raise Mistake("config.token")
        return cls(given["token"], given.get("serial") or None, given.get("object"), identifier)


@dataclass(frozen=True, slots=True)
class TokenReference:
    """One private key in a token, as RFC 7512 writes it:

        pkcs11:token=LABEL;serial=NUMBER;object=NAME;id=HEX?module-path=FILE&pin-source=file:FILE

    object or id, or both; serial where two tokens may have one label: no PIN is given to another card then. Without a module it is
    that of the configuration; without a PIN source a person unlocks it.
    """

    key: Named
    module: Path | None
    pin: Secret | None

    @classmethod
    def parse(cls, text: str) -> TokenReference:
        """Raises Mistake."""
        path, _, query = text.removeprefix("pkcs11:").partition("?")
        if not text.startswith("pkcs11:"):
            raise Mistake("config.token")
        key = Named.parse(path)
        more = dict(part.partition("=")[::2] for part in query.split("&") if part)
        if set(more) - {"module-path", "pin-source"}:
            raise Mistake("config.token-query")
        module, pin = more.get("module-path"), more.get("pin-source")
        return cls(key, Path(unquote(module)) if module else None, Secret.parse(unquote(pin)) if pin else None)

    @property
    def name(self) -> str:
        """Of the token, for people."""
        return f"{self.key.token} {self.key.serial}" if self.key.serial else self.key.token
