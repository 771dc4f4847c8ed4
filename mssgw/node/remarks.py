"""Warnings about a configuration: what stops no node and must be mended all the same.

Each remark names its place in the file, what is wrong, and what follows or what to do. `mssgw config check` and the
start of a node print them as warnings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from dmp_connector.errors import BadCertificate
from dmp_connector.signer import FileSigner
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError, MailError
from mssgw.node.readiness import seals_with_files
from mssgw.smime.directories.files import file_problems, identity_remarks
from mssgw.trust import anchors, refresh

SOON = timedelta(days=30)

Remark = tuple[str, str]  # where in the file, sentence


def remarks(config: Config, now: datetime) -> Iterator[Remark]:
    """All of them. `require_ready` reports files that can't be read."""
    yield from _data(config)
    yield from _listeners(config)
    yield from _tls_certificates(config, now)
    yield from _seals(config, now)
    yield from _anchors(config)
    yield from _recipients(config)
    yield from _personal_keys(config)
    yield from _listed(config)
    yield from _actors(config)


def _data(config: Config) -> Iterator[Remark]:
    data = config.node.data
    if not data.exists():
        yield "node.data", f"{data} is not there yet; the first start makes it"
    elif data.is_dir() and (mode := data.stat().st_mode & 0o777) & 0o077:
        yield "node.data", f"{data} has mode {mode:04o}, others can look into it; chmod 700 {data}"


def _listeners(config: Config) -> Iterator[Remark]:
    tables = (config.relay, config.hospital, config.submission, config.imap)
    if not any(table and (table.listen or getattr(table, "listen_tls", ())) for table in tables):
        yield "", "no listener at all: nobody can send or read mail here; give [relay], [submission] or [imap] a `listen`"
    for network in config.hospital.networks if config.hospital else ():
        if not network.is_private and not (config.hospital and config.hospital.require_certificate):
            yield "hospital.networks", f"{network} is on the Internet: whoever has an address there can send mail; name the hospital's own"


def _tls_certificates(config: Config, now: datetime) -> Iterator[Remark]:
    """Those that our ports show: in their dates, and for the name by which we are found."""
    shown = [(name, table.certificate) for name, table in (("relay", config.relay), ("clients", config.clients)) if table]
    for name, path in shown:
        for certificate in _first(path):
            yield from _dates(f"{name}.certificate", str(path), certificate, now, "peers refuse it")
            if not _names(certificate, config.node.hostname):
                sentence = f"{path} is not for {config.node.hostname} ([node] hostname), which is what others look for in it"
                yield f"{name}.certificate", f"{sentence}; order one with this name, or set the host name that it has"
    for index, domain in enumerate(config.domain):
        for certificate in _first(domain.tls_certificate) if domain.tls_certificate else ():
            yield from _dates(f"domain[{index}].tls_certificate", str(domain.tls_certificate), certificate, now, "mail clients refuse it")


def _seals(config: Config, now: datetime) -> Iterator[Remark]:
    for where, name, seal in seals_with_files(config):
        yield from _dates(f"{where}.certificate", name, seal.certificate.parsed, now, "what is to be signed waits")


def _dates(where: str, name: str, certificate: x509.Certificate, now: datetime, follows: str) -> Iterator[Remark]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now <= end:
        yield where, f"{name}: valid from {start:%Y-%m-%d} to {end:%Y-%m-%d} only; {follows}"
    elif end - now < SOON:
        yield where, f"{name}: expires on {end:%Y-%m-%d}; order the next one"


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


def _anchors(config: Config) -> Iterator[Remark]:
    with contextlib.suppress(OSError):
        for path in sorted(config.trust.anchors.iterdir()) if config.trust.anchors.is_dir() else ():
            if path.is_file() and not path.name.startswith(".") and not anchors.read_file(path, lenient=True):
                yield "trust.anchors", f"{path}: no certificate in it; no authority is known by it"
        trust = config.trust
        with contextlib.suppress(ConfigError):  # `require_ready` reports it
            pinned = anchors.load(trust.anchors, trust.pki, trust.anchor_fingerprints)
            for name, why in pinned.left_out:
                yield "trust.anchors", f"{name} is left out: {why}; no certificate it issued is accepted"


def _recipients(config: Config) -> Iterator[Remark]:
    with contextlib.suppress(OSError):
        for sentence in file_problems(config.smime.recipients) if config.smime.recipients else ():
            yield "smime.recipients", f"{sentence}; mail to whom it may be for waits"
    for sentence in identity_remarks(config.smime.identities) if config.smime.identities else ():
        yield "smime.identities", sentence


def _personal_keys(config: Config) -> Iterator[Remark]:
    for index, domain in enumerate(config.domain):
        if domain.personal_keys == "any":
            sentence = "any mail in a person's name is signed with that person's own key, also from the hospital port, where nobody logs in"
            yield f"domain[{index}].personal_keys", f'{sentence}; "session" keeps it to the person\'s own session'


def _listed(config: Config) -> Iterator[Remark]:
    """Other operators take mail only from domains on the list. Without a list so far there is nothing to compare with."""
    try:
        space = refresh.last_good(config.node.data / "trust")
    except (MailError, OSError) as error:
        yield "node.data", f"the last good list on disk can't be used ({error}); it is fetched again"
        return
    for index, domain in enumerate(config.domain if space else ()):
        if space and domain.name not in space.domains:
            sentence = f"{domain.name} is not on the national whitelist of {space.generated_at:%Y-%m-%d}: no operator takes its mail"
            yield f"domain[{index}].name", f"{sentence}; have it listed (ANS), or correct the name"


def _actors(config: Config) -> Iterator[Remark]:
    """What keeps one person from acting in the DMP, and not the node from starting."""
    for index, actor in enumerate(config.dmp_actor):
        if actor.certificate and actor.key:
            try:
                FileSigner.load(actor.certificate, actor.key.path)
            except BadCertificate as error:
                yield f"dmp_actor[{index}].key", f"{actor.address} cannot act in the DMP: {error}"
