"""The TLS contexts in force in this worker: built once, swapped when what they are made of changes.

The current context is used at each handshake. New certificate files are taken up without a restart; when they can't be
read, the old context stays and the reason is logged. Server contexts for operators are also swapped at each change of
CRL or anchors, so that no older session outlives a revocation.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mssgw.core.errors import ConfigError, Problem
from mssgw.core.texts import message
from mssgw.observe import Event, log
from mssgw.trust import disk, tls
from mssgw.trust.anchors import Anchors
from mssgw.trust.tls import Identity


class Contexts:
    """`relay` is the operator's identity, `clients` what mail clients and browsers see, `others` what they see by SNI."""

    def __init__(
        self,
        anchors: Anchors,
        *,
        relay: Identity | None = None,
        clients: Identity | None = None,
        others: Sequence[Identity] = (),
        hospital_ca: Path | None = None,
        tls13_only: bool = False,
        cbc: bool = True,
    ) -> None:
        self._anchors = anchors
        self._relay = relay
        self._clients = clients
        self._others = tuple(others)
        self._hospital_ca = hospital_ca
        self._tls13_only = tls13_only
        self._cbc = cbc
        self._version: object = None
        self._built: dict[str, ssl.SSLContext] = {}
        self._stamps: dict[Path, int] = {}
        self._warned: dict[str, int] = {}

    def relay_server(self) -> ssl.SSLContext:
        return self._context("relay_server", self._build_relay_server)

    def relay_client(self) -> ssl.SSLContext:
        return self._context("relay_client", self._build_relay_client)

    def client_facing(self) -> ssl.SSLContext:
        return self._context("clients", self._build_clients)

    def hospital(self) -> ssl.SSLContext:
        """The hospital's own relay: its certificate is verified against `hospital_ca`, and asked for only if that is set."""
        return self._context("hospital", self._build_hospital)

    def _context(self, role: str, build: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        if role not in self._built:
            self._built[role] = build()
            self._note_files()
        return self._built[role]

    def _build_relay_server(self) -> ssl.SSLContext:
        assert self._relay, "no [relay] is configured"
        return tls.relay_server_context(self._relay, self._anchors, tls13_only=self._tls13_only)

    def _build_relay_client(self) -> ssl.SSLContext:
        assert self._relay, "no [relay] is configured"
        return tls.relay_client_context(self._relay, self._anchors, tls13_only=self._tls13_only)

    def _build_clients(self) -> ssl.SSLContext:
        assert self._clients, "no [clients] is configured"
        return tls.client_facing_context(self._clients, cbc=self._cbc, others=self._others)

    def _build_hospital(self) -> ssl.SSLContext:
        shown = self._clients or self._relay
        assert shown, "neither [clients] nor [relay] is configured"
        return tls.hospital_context(shown, self._hospital_ca, require=False, cbc=self._cbc)

    def require_usable(self) -> None:
        """Build what is configured. Raises ConfigError with every certificate or key that can't be used."""
        problems: list[Problem] = []
        for role, identity in self.identities():
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(identity.certificate, identity.key)
                tls.dns_names(identity)
            except (OSError, ssl.SSLError, ValueError, IndexError) as error:
                what = message("trust.pair", certificate=identity.certificate, key=identity.key, why=str(error))
                problems.append((f"{role}.certificate", what))
        try:
            if self._hospital_ca:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(self._hospital_ca)
        except (OSError, ssl.SSLError) as error:
            problems.append(("hospital.client_ca", message("at", place=self._hospital_ca, what=str(error))))
        if problems:
            raise ConfigError(problems)

    def identities(self) -> Iterable[tuple[str, Identity]]:
        if self._relay:
            yield "relay", self._relay
        if self._clients:
            yield "clients", self._clients
        for identity in self._others:
            yield "domain", identity

    # -- changes ---------------------------------------------------------------------------------------------------

    def follow(self, version: object) -> None:
        """Swap what is out of date; called at intervals. `version` changes with every CRL and anchor change."""
        if version != self._version:
            self._version = version
            self._rebuild("relay_server", self._build_relay_server)
        if any(disk.stamp(path) != stamp for path, stamp in self._stamps.items()):
            self._note_files()
            self._rebuild("relay_server", self._build_relay_server)
            self._rebuild("relay_client", self._build_relay_client)
            self._rebuild("clients", self._build_clients)
            self._rebuild("hospital", self._build_hospital)
            log(Event.TLS_RELOADED)

    def _rebuild(self, role: str, build: Callable[[], ssl.SSLContext]) -> None:
        if role not in self._built:
            return
        try:
            self._built[role] = build()
        except (OSError, ssl.SSLError, ValueError) as error:
            log(Event.TLS_RELOADED, "error", role=role, detail=f"the old certificate stays: {error}")

    def _note_files(self) -> None:
        self._stamps = {path: disk.stamp(path) for _, identity in self.identities() for path in (identity.certificate, identity.key)}
