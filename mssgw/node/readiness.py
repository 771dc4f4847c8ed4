"""Checks that everything a configuration names exists, for `mssgw config check` and the start of a node.

`require_ready` looks at files: secrets can be read, certificates load and belong to their keys, the anchors are usable.
All mistakes at once, each with its path in the file, before any worker starts. Warnings that stop no node are in
remarks.py.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mssgw.core import owner
from mssgw.core.address import Domain
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config, Secret
from mssgw.core.errors import ConfigError, Mistake, Problem
from mssgw.core.texts import Message, message, of_system
from mssgw.node.services import seals
from mssgw.smime import Identity, KeyUnavailable
from mssgw.smime.directories.files import identity_problems
from mssgw.smime.directories.ldap import directories
from mssgw.smime.errors import of_error
from mssgw.smime.keys.key import require_pair
from mssgw.store.seal import MasterKey
from mssgw.trust import Trust


def require_ready(config: Config) -> None:
    """Raises ConfigError with every mistake."""
    problems: list[Problem] = [("node.data", sentence) for sentence in owner.problems(config.node.data)]
    problems += [*_secrets(config), *_pairs(config), *_directories(config), *_tokens(config)]
    for check in (lambda: seals(config, SystemClock().now()), lambda: Trust.of(config, SystemClock()), lambda: directories(config.ldap)):
        try:
            check()
        except ConfigError as error:
            known = {path for path, _ in problems}
            known |= {f"{port}.certificate" for port in ("relay", "clients") if f"{port}.key" in known}  # the pair of a key that is named
            problems += [one for one in error.problems if one[0] not in known]
        except (OSError, ValueError) as error:
            if not problems:
                problems.append(("", message("words", words=str(error))))
    if problems:
        raise ConfigError(problems)


def _directories(config: Config) -> Iterator[Problem]:
    """Directories with certificates of persons. A recipient's file that is broken is a remark: it stops some mail, not the node."""
    if config.smime.recipients:
        try:
            next(config.smime.recipients.iterdir(), None)
        except OSError as error:
            yield "smime.recipients", message("at", place=config.smime.recipients, what=owner.of_public(error, config.smime.recipients))
    if config.smime.identities:
        yield from (("smime.identities", sentence) for sentence in identity_problems(config.smime.identities, SystemClock().now()))


def _tokens(config: Config) -> Iterator[Problem]:
    """What keys in tokens need beside the token, which may come later."""
    used = [name for name, secret in config.secrets() if secret.scheme == "pkcs11"]
    if used and find_spec("pkcs11") is None:
        yield used[0], message("config.no-pkcs11")
    module = config.smime.pkcs11_module
    if module and not module.is_file():
        yield "smime.pkcs11_module", message("config.no-module", path=module)


def _secrets(config: Config) -> Iterator[Problem]:
    for name, secret in config.secrets():
        if secret.scheme != "pkcs11":  # that one never leaves its token
            try:
                octets = secret.read()
                if name in ("seal.master_key", "seal.former_key"):
                    MasterKey(octets)
            except OSError as error:
                yield name, message("at", place=secret, what=of_system(error))
            except Mistake as error:
                yield name, message("seal.key-wrong", secret=secret, why=error.message)


def _pairs(config: Config) -> Iterator[Problem]:
    """The certificates of our TLS ports: OpenSSL itself has to take them with their keys."""
    for name, table in (("relay", config.relay), ("clients", config.clients)):
        if table and (wrong := _mismatch(table.certificate, table.key)):
            yield f"{name}.certificate", wrong
    for where, name, seal in seals_with_files(config):
        try:
            require_pair(seal)
        except KeyUnavailable as error:
            yield f"{where}.key", message("at", place=name, what=of_error(error))


def seals_with_files(config: Config) -> Iterator[tuple[str, Domain, Identity]]:
    """Each pair of certificate and key that can be compared without a token, with its path. `seals` reports unreadable files."""
    try:
        found = seals(config, SystemClock().now())
    except ConfigError:
        return
    for index, domain in enumerate(config.domain):
        if domain.name in found:
            yield f"domain[{index}]", domain.name, found[domain.name]


def _mismatch(certificate: Path, key: Secret) -> Message | None:
    try:
        certificate.read_bytes()
    except OSError as error:
        return message("at", place=certificate, what=owner.of_public(error, certificate))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key.path)
    except ssl.SSLError as error:
        what = message("config.other-key" if "MISMATCH" in str(error) else "config.no-pem-pair")
        return message("at", place=certificate, what=what)
    except OSError:
        return None  # the key can't be read; reported with the secrets
    return None
