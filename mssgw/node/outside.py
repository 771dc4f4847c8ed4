"""Our certificates as others will judge them, before they do: part of the remarks about a configuration.

They are judged by the rules of our own trust space, with the last good list and the CRLs that lie on the disk; nothing is
fetched. Dates are remarks of their own (remarks.py), so a certificate is judged within its dates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.clock import SystemClock
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError, MailError, Problem
from mssgw.core.texts import message, of_system
from mssgw.node.readiness import seals_with_files
from mssgw.pki.certificates import Certificate, CertificateError
from mssgw.pki.judgement import Purpose
from mssgw.pki.names import Match
from mssgw.trust import anchors, refresh, status
from mssgw.trust.faults import Fault, fault_of
from mssgw.trust.paths import Rules, Validator
from mssgw.trust.revocation import Ledger, RevocationError, Rule
from mssgw.trust.space import TrustSpace

_SERVER: Final = {ExtendedKeyUsageOID.SERVER_AUTH.dotted_string, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string}
_ADVISED: Final = {Fault.FOREIGN, Fault.FORGED, Fault.REVOKED, Fault.WRONG_USAGE, Fault.WRONG_POLICY}  # with advice of their own


def judged_by_others(config: Config, now: datetime) -> Iterator[Problem]:
    """What other operators, mail clients and the readers of signed mail will refuse."""
    validator = _validator(config)
    if validator:
        yield from _operator(config, validator, now)
        for where, name, seal in seals_with_files(config):
            yield from _judged(f"{where}.certificate", name, seal.certificate.der, (Purpose.MAIL_SIGN,), validator, now)
    yield from _shown_to_clients(config, validator, now)
    yield from _listed(config)


def _validator(config: Config) -> Validator | None:
    """By the anchors, and the CRLs of the last run; without fresh ones nobody is refused. None: `require_ready` reports the anchors."""
    trust = config.trust
    try:
        pinned = anchors.load(trust.anchors, trust.pki, trust.anchor_fingerprints)
    except (ConfigError, OSError):
        return None
    clock, soft = SystemClock(), Rule("soft")
    ledger = Ledger(clock)
    for _, crl in status.crls(config.node.data / "trust", pinned):
        with contextlib.suppress(RevocationError):  # dated in the future
            ledger.add_crl(crl)
    return Validator(pinned, ledger, clock, Rules(soft, soft, soft))


def _operator(config: Config, validator: Validator, now: datetime) -> Iterator[Problem]:
    """The certificate of port 25: it is shown as a server's and as a client's."""
    for certificate in _first(config.relay.certificate) if config.relay else ():
        name = config.relay.certificate if config.relay else ""
        yield from _judged("relay.certificate", name, certificate.der, (Purpose.RELAY_CLIENT, Purpose.RELAY_SERVER), validator, now)


def _judged(
    where: str, name: object, der: bytes, purposes: tuple[Purpose, ...], validator: Validator, now: datetime, only: Fault | None = None
) -> Iterator[Problem]:
    """The first refusal; `only`: of this fault."""
    try:
        certificate = Certificate.read(der)
        for purpose in purposes:
            validator(der, purpose, min(max(now, certificate.not_before), certificate.not_after))
    except CertificateError as error:
        yield where, message("at", place=name, what=str(error))
    except MailError as error:
        fault = fault_of(error)
        if only in (None, fault):
            mail = "-seal" if fault is Fault.WRONG_USAGE and Purpose.MAIL_SIGN in purposes else ""
            advice = message(f"remark.advice.{fault}{mail}" if fault in _ADVISED else "remark.advice.other")
            yield where, message("remark.judged", name=name, why=error.message, advice=advice)


def _shown_to_clients(config: Config, validator: Validator | None, now: datetime) -> Iterator[Problem]:
    """Certificates for mail clients may be of any authority; their kind and, when we know it, their revocation count."""
    shown = [("clients.certificate", config.clients.certificate)] if config.clients else []
    shown += [(f"domain[{index}].tls_certificate", one.tls_certificate) for index, one in enumerate(config.domain) if one.tls_certificate]
    for where, path in shown:
        for certificate in _first(path):
            usages = certificate.extended_usages
            if usages is not None and not usages & _SERVER:
                yield where, message("remark.no-server", path=path)
            elif validator:
                yield from _judged(where, path, certificate.der, (Purpose.RELAY_SERVER,), validator, now, Fault.REVOKED)


def _first(path: Path) -> Iterator[Certificate]:
    """The certificate itself, without its chain. `require_ready` reports what can't be read."""
    with contextlib.suppress(OSError, ValueError):
        yield from anchors.read_bundle(path.read_bytes())[:1]


def _listed(config: Config) -> Iterator[Problem]:
    """Other operators take mail only from domains on the list, by the operator that is listed. Before the first list nothing is known."""
    try:
        space = refresh.last_good(config.node.data / "trust", Match(config.trust.match))
    except (MailError, OSError) as error:
        yield "node.data", message("remark.list-unusable", why=error.message if isinstance(error, MailError) else of_system(error))
        return
    for index, domain in enumerate(config.domain if space else ()):
        if space and domain.name not in space.domains:
            yield f"domain[{index}].name", message("remark.unlisted", domain=domain.name, listed=space.generated_at.date())
    if space:
        yield from _operator_listed(config, space)


def _operator_listed(config: Config, space: TrustSpace) -> Iterator[Problem]:
    """Peers compare the subject of our certificate with the list, for the domain of each sender."""
    for certificate in _first(config.relay.certificate) if config.relay else ():
        for domain in config.domain:
            if domain.name in space.domains:
                try:
                    space.require(domain.name, certificate.subject)
                except MailError as error:
                    path = config.relay.certificate if config.relay else ""
                    yield "relay.certificate", message("remark.other-operator", path=path, domain=domain.name, why=error.message)
