"""[[ldap]]."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mssgw.core.address import Domain
from mssgw.core.config import ldap_filter
from mssgw.core.config.base import Mistakes, Secret, Settings
from mssgw.core.config.domain import check_domain
from mssgw.core.errors import Mistake, Problem
from mssgw.core.texts import message

_URL = re.compile(r"(ldaps?)://(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+))(?::(\d{1,5}))?/?\Z")
_TYPE = r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)"
_VALUE = r"""(?:\#(?:[0-9A-Fa-f]{2})+|"(?:[^"\\]|\\.)*"|(?:[^"+,;<>\\\0]|\\[ "#+,;<=>\\]|\\[0-9A-Fa-f]{2})*)"""
_NAME = re.compile(rf" *{_TYPE} *= *{_VALUE}(?:[+,] *{_TYPE} *= *{_VALUE})*\Z")


class Ldap(Settings, frozen=True):
    urls: Annotated[
        tuple[str, ...],
        Meta(
            description="The servers of one directory, asked in this order: ldaps://host, or ldap://host which is upgraded with STARTTLS; a port may follow.",
            min_length=1,
            max_length=8,
        ),
    ]
    base: Annotated[str, Meta(description="Distinguished name of the entry to search below, as in ou=people,dc=hospital,dc=example.")]
    scope: Annotated[Literal["sub", "one", "base"], Meta(description="How far below it.")] = "sub"
    filter: Annotated[
        str,
        Meta(
            description="Which entries are the recipient's (RFC 4515); {address}, {local} and {domain} are replaced by the parts of the address."
        ),
    ] = "(mail={address})"
    attributes: Annotated[
        tuple[str, ...],
        Meta(
            description="Attributes with the certificates; userSMIMECertificate also has the holder's capabilities. Servers disagree whether it has the option binary.",
            min_length=1,
            max_length=8,
        ),
    ] = ("userSMIMECertificate", "userSMIMECertificate;binary", "userCertificate;binary")
    address_attributes: Annotated[
        tuple[str, ...],
        Meta(
            description="Attributes beside mail with the address of an entry; a value may begin with smtp:. A certificate without an address (a card's) counts only in an entry that has the recipient's address, or that has none and is the only one found.",
            max_length=8,
        ),
    ] = ("mailAlternateAddress", "proxyAddresses")
    domains: Annotated[tuple[Domain, ...], Meta(description="The recipients' domains it is asked about; empty for all.")] = ()
    required: Annotated[
        bool,
        Meta(
            description='What its silence means when a recipient is known from nowhere else and encrypt = "when-possible": true, the message waits (451); false, it leaves without encryption. With encrypt = "always" it waits anyway.'
        ),
    ] = True
    starttls: Annotated[
        bool,
        Meta(
            description="Upgrade ldap: connections with STARTTLS. Without TLS no password is sent, and only certificates that carry the recipient's address are believed."
        ),
    ] = True
    ca: Annotated[Path | None, Meta(description="PEM: the authorities of the servers' certificates; those of the system when not set.")] = (
        None
    )
    bind_dn: Annotated[str, Meta(description="Name to log in with; empty for an anonymous search, or to be known by `certificate`.")] = ""
    password: Annotated[Secret | None, Meta(description="Its password.")] = None
    certificate: Annotated[
        Path | None,
        Meta(description="PEM: our client certificate, then its chain; without bind_dn it is also who we log in as (SASL EXTERNAL)."),
    ] = None
    key: Annotated[Secret | None, Meta(description="PEM: its private key.")] = None
    timeout_seconds: Annotated[
        int, Meta(description="How long one server may take over one question, connection included.", ge=1, le=60)
    ] = 5
    connections: Annotated[int, Meta(description="Questions at the same time, per worker.", ge=1, le=64)] = 4
    cache_seconds: Annotated[int, Meta(description="How long a found certificate is not asked for again.", ge=0)] = 3600
    cache_absent_seconds: Annotated[int, Meta(description="The same for an address the directory does not know.", ge=0)] = 300
    stale_seconds: Annotated[
        int,
        Meta(
            description="How long a found certificate still counts when no server answers. Revocation is judged at each use all the same.",
            ge=0,
        ),
    ] = 86400

    def __post_init__(self) -> None:
        if problems := list(self._mistakes()):
            raise Mistakes(problems)

    def _mistakes(self) -> Iterator[Problem]:
        for name, check, values in (("urls", require_url, self.urls), ("domains", check_domain, self.domains)):
            for index, value in enumerate(values):
                try:
                    check(value)
                except Mistake as error:
                    yield f"{name}[{index}]", error.message
        if self.base and not _NAME.match(self.base):
            yield "base", message("config.ldap.base", given=repr(self.base))
        try:
            ldap_filter.parse(self.filter)
        except ldap_filter.FilterError as error:
            yield "filter", error.message
        if bool(self.bind_dn) != (self.password is not None):
            yield "password" if self.bind_dn else "bind_dn", message("config.together", one="bind_dn", other="password")
        if (self.certificate is None) != (self.key is None):
            yield "key" if self.certificate else "certificate", message("config.together", one="certificate", other="key")
        clear = not self.starttls and any(url.startswith("ldap:") for url in self.urls)
        if clear and (self.password or self.certificate):
            yield "starttls", message("config.ldap.clear")
        if self.stale_seconds < self.cache_seconds:
            yield "stale_seconds", message("config.ldap.stale")


def require_url(url: str) -> tuple[str, str, int]:
    """(scheme, host, port). Raises Mistake."""
    found = _URL.match(url)
    if not found or not 0 < int(found[4] or 1) <= 65535:
        raise Mistake("config.ldap.url", given=repr(url))
    return found[1], found[2] or found[3], int(found[4] or (636 if found[1] == "ldaps" else 389))
