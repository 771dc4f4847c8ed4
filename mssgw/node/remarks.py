"""Warnings about a configuration: what stops no node and must be mended all the same.

Each remark names its place in the file, what is wrong, and what follows or what to do. `mssgw config check` and the
start of a node print them as warnings.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from dmp_connector.errors import BadCertificate
from dmp_connector.signer import FileSigner
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError, Problem
from mssgw.core.texts import Message, message
from mssgw.node.exposure import exposed
from mssgw.node.outside import judged_by_others
from mssgw.node.readiness import seals_with_files
from mssgw.smime.directories.files import file_problems, identity_remarks
from mssgw.store.answer import accounts_elsewhere, unknown_accounts
from mssgw.trust import anchors

SOON = timedelta(days=30)


def remarks(config: Config, now: datetime, file: Path | None = None) -> Iterator[Problem]:
    """All of them; `file` is where the configuration stands. `require_ready` reports files that can't be read."""
    yield from exposed(config, file)
    yield from _without_dots(config)
    yield from _listeners(config)
    yield from _tls_certificates(config, now)
    yield from _seals(config, now)
    yield from _anchors(config)
    yield from _recipients(config)
    yield from _personal_keys(config)
    yield from judged_by_others(config, now)
    yield from _weakened(config)
    yield from _mailboxes(config)
    yield from _room(config)
    yield from _actors(config)


def _without_dots(config: Config) -> Iterator[Problem]:
    """Names that nobody on another machine can look up."""
    names = [("node.hostname", config.node.hostname)]
    names += [(f"domain[{index}].name", str(one.name)) for index, one in enumerate(config.domain)]
    yield from ((where, message("remark.no-dot", name=name)) for where, name in names if "." not in name.strip("."))


def _room(config: Config) -> Iterator[Problem]:
    """A disk so full that mail is deferred."""
    with contextlib.suppress(OSError):  # what is wrong with the directory is told by `require_ready`
        free = shutil.disk_usage(config.node.data).free
        if free < config.limits.free_disk:
            yield "node.data", message("remark.disk-full", data=config.node.data, free=free >> 20, floor=config.limits.free_disk >> 20)


def _listeners(config: Config) -> Iterator[Problem]:
    tables = (config.relay, config.hospital, config.submission, config.imap)
    if not any(table and (table.listen or getattr(table, "listen_tls", ())) for table in tables):
        yield "", message("remark.no-listener")
    for network in config.hospital.networks if config.hospital else ():
        if not network.is_private and not (config.hospital and config.hospital.require_certificate):
            yield "hospital.networks", message("remark.internet", network=network)


def _tls_certificates(config: Config, now: datetime) -> Iterator[Problem]:
    """Those that our ports show: in their dates, and for the name by which we are found."""
    tables = (("relay", config.relay, "remark.peers-refuse"), ("clients", config.clients, "remark.clients-refuse"))
    shown = [(name, table.certificate, follows) for name, table, follows in tables if table]
    for name, path, follows in shown:
        for certificate in _first(path):
            yield from _dates(f"{name}.certificate", str(path), certificate, now, message(follows))
            if not _names(certificate, config.node.hostname):
                yield f"{name}.certificate", message("remark.other-host", path=path, hostname=config.node.hostname)
    for index, domain in enumerate(config.domain):
        for certificate in _first(domain.tls_certificate) if domain.tls_certificate else ():
            yield from _dates(
                f"domain[{index}].tls_certificate", str(domain.tls_certificate), certificate, now, message("remark.clients-refuse")
            )


def _seals(config: Config, now: datetime) -> Iterator[Problem]:
    for where, name, seal in seals_with_files(config):
        yield from _dates(f"{where}.certificate", name, seal.certificate.parsed, now, message("remark.signing-waits"))


def _dates(where: str, name: str, certificate: x509.Certificate, now: datetime, follows: Message) -> Iterator[Problem]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now <= end:
        yield where, message("remark.dates", name=name, start=start.date(), end=end.date(), follows=follows)
    elif end - now < SOON:
        yield where, message("remark.expires", name=name, end=end.date())


def _first(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes())[:1])
    except (OSError, ValueError):
        return ()


def _names(certificate: x509.Certificate, hostname: str) -> bool:
    """RFC 6125: the subjectAltName counts; a star stands for one label."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    wanted = hostname.lower()
    return any(one.lower() in (wanted, f"*.{wanted.partition('.')[2]}") for one in names)


def _anchors(config: Config) -> Iterator[Problem]:
    with contextlib.suppress(OSError):
        for path in sorted(config.trust.anchors.iterdir()) if config.trust.anchors.is_dir() else ():
            if path.is_file() and not path.name.startswith(".") and not anchors.read_file(path, lenient=True):
                yield "trust.anchors", message("remark.no-anchor", path=path)
        trust = config.trust
        with contextlib.suppress(ConfigError):  # `require_ready` reports it
            pinned = anchors.load(trust.anchors, trust.pki, trust.anchor_fingerprints)
            for name, why in pinned.left_out:
                yield "trust.anchors", message("remark.left-out", name=name, why=why)


def _recipients(config: Config) -> Iterator[Problem]:
    with contextlib.suppress(OSError):
        for wrong in file_problems(config.smime.recipients) if config.smime.recipients else ():
            yield "smime.recipients", message("remark.recipient", wrong=wrong)
    for unused in identity_remarks(config.smime.identities) if config.smime.identities else ():
        yield "smime.identities", unused


def _personal_keys(config: Config) -> Iterator[Problem]:
    for index, domain in enumerate(config.domain):
        if domain.personal_keys == "any":
            yield f"domain[{index}].personal_keys", message("remark.personal-keys")


def _weakened(config: Config) -> Iterator[Problem]:
    """Settings of [trust] that accept more than the trust space allows."""
    for name in ("revocation", "revocation_mail", "revocation_list"):
        if getattr(config.trust, name) == "none":
            yield f"trust.{name}", message("remark.no-revocation")
    if config.trust.match == "lenient":
        yield "trust.match", message("remark.lenient")


def _mailboxes(config: Config) -> Iterator[Problem]:
    """Accounts that the configuration names and the store does not have, and domains the other way about."""
    named = {f"domain[{index}].catch_all": one.catch_all for index, one in enumerate(config.domain) if one.catch_all}
    if config.node.postmaster:
        named["node.postmaster"] = config.node.postmaster
    with contextlib.suppress(ConfigError):  # `require_answer` reports the store
        for where, address in unknown_accounts(config, named):
            yield where, message("remark.no-account", address=address)
        for domain, count in accounts_elsewhere(config).items():
            yield "domain", message("remark.no-domain", domain=domain, count=count)


def _actors(config: Config) -> Iterator[Problem]:
    """What keeps one person from acting in the DMP, and not the node from starting."""
    for index, actor in enumerate(config.dmp_actor):
        if actor.certificate and actor.key:
            try:
                FileSigner.load(actor.certificate, actor.key.path)
            except BadCertificate as error:
                yield f"dmp_actor[{index}].key", message("remark.actor", address=actor.address, why=error.message)
