"""Address and Domain: parse and print (RFC 5321 4.1.2, RFC 6531 3.3, RFC 5890).

A domain is lower-case ASCII, internationalised labels as A-labels, without a final dot. The local part
keeps its case and its quotes are removed when they are not needed, so two spellings of one mailbox
compare equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from mssgw.core.errors import Mistake

Domain = NewType("Domain", str)

MAX_LOCAL = 64  # octets, RFC 5321 4.5.3.1.1
MAX_DOMAIN = 255  # octets, RFC 5321 4.5.3.1.2
MAX_PATH = 254  # octets without the angle brackets, RFC 5321 4.5.3.1.3

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_DOT_STRING = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*\Z")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*)"\Z')
_PLAIN = re.compile(r"([A-Za-z0-9_+\-]+(?:\.[A-Za-z0-9_+\-]+)*)@([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+)\Z")


class AddressError(Mistake):
    """Not an address or a domain. The text names what is wrong, and repeats at most the input."""


def parse_domain(text: str) -> Domain:
    """A host name as `Domain`. Address literals are refused: the trust space knows names only.

    Raises AddressError.
    """
    name = text.removesuffix(".")
    if not name.isascii():
        name = _to_ascii(name)
    name = name.lower()
    if not name or len(name) > MAX_DOMAIN:
        raise AddressError("address.domain-long", most=MAX_DOMAIN) if name else AddressError("address.domain-empty")
    for label in name.split("."):
        if not _LABEL.match(label):
            raise AddressError("address.label", label=repr(label[:63]))
    return Domain(name)


def _to_ascii(name: str) -> str:
    import idna  # RFC 5891; imported only when a peer sends U-labels

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise AddressError("address.international") from error


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox, `local@domain`. Equality is exact on the local part: RFC 5321 2.4."""

    local: str
    domain: Domain

    @classmethod
    @lru_cache(maxsize=4096)  # one message names the same few addresses again and again
    def parse(cls, text: str) -> Address:
        """Parse an addr-spec without angle brackets. Raises AddressError."""
        if (plain := _PLAIN.match(text)) and len(plain[1]) <= MAX_LOCAL and len(text) <= MAX_PATH:
            parse_label_lengths(plain[2])
            return cls(plain[1], Domain(plain[2]))
        local, at, domain = text.rpartition("@")
        if not at:
            raise AddressError("address.no-at")
        if quoted := _QUOTED.match(local):
            local = re.sub(r"\\(.)", r"\1", quoted[1])
        elif not _DOT_STRING.match(local):
            raise AddressError("address.local")
        address = cls(local, parse_domain(domain))
        if len(address.local.encode("utf-8", "surrogatepass")) > MAX_LOCAL:
            raise AddressError("address.local-long", most=MAX_LOCAL)
        if len(str(address).encode("utf-8", "surrogatepass")) > MAX_PATH:
            raise AddressError("address.long", most=MAX_PATH)
        return address

    @property
    def key(self) -> str:
        """The form in which mailboxes are looked up here: our own local parts ignore case, as at every operator."""
        return f"{self.local.casefold()}@{self.domain}"

    @property
    def ascii(self) -> bool:
        return self.local.isascii()

    def __str__(self) -> str:
        if _DOT_STRING.match(self.local):
            return f"{self.local}@{self.domain}"
        escaped = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"@{self.domain}'


def parse_label_lengths(name: str) -> None:
    """The checks of `parse_domain` that the pattern of the fast path can't express."""
    if any(len(label) > 63 for label in name.split(".")):
        raise AddressError("address.label-long", most=63)
