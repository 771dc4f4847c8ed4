"""TLS: one context per role, built here and nowhere else.

Why peers are let in before they are judged. Between operators a peer must learn *what to mend* ("the certificate
expired on …"), by an SMTP reply. A refusal inside the handshake can't carry that: the peer sees an EOF (TLS 1.2) or a
connection lost after a handshake it believes complete (TLS 1.3). Python's `ssl` offers three modes: CERT_NONE never
asks a client for its certificate, CERT_OPTIONAL and CERT_REQUIRED end the handshake when OpenSSL can't verify it. So
on mutual-TLS contexts OpenSSL's own verification is replaced (SSL_CTX_set_cert_verify_callback, called through
ctypes, since `ssl` does not expose it) by one that accepts; possession of the private key is still proved by the
handshake itself. Code that uses such a context *must* give `peer_certificate` to `Trust.require…` before a MAIL
command or a message goes either way: no certificate, or one that fails, is then a 5xx with a sentence.

So resumption and caches can't bypass revocation: we judge every connection from the certificate of that
connection. Server contexts issue no tickets and keep no session cache, and each change of CRL or
anchors makes new contexts, so no older session outlives a revocation (RFC 8446 4.6.1, RFC 5077).

Fail closed. The first field after the object header of an `ssl.SSLContext` is the SSL_CTX pointer in every CPython
we know (3.11 to 3.14). `self_test` proves the mechanism with real handshakes when the process starts; when it isn't
there, contexts keep OpenSSL's verification against our anchors: refusals then happen inside TLS (opaque, but secure).
"""

from __future__ import annotations

import ctypes
import ssl
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mssgw.observe import Event, log
from mssgw.trust.anchors import Anchors

_GCM = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
_NATIONAL_CBC = ("ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA256")  # ECO.1.1.3: 0xC028, 0xC027
KNOWN_CPYTHON: Final = ((3, 11), (3, 14))


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate file (leaf, then chain) and its key file. PEM, read by OpenSSL at each build of a context."""

    certificate: Path
    key: Path

    def leaf(self) -> x509.Certificate:
        """The first certificate of the file. Raises OSError, ValueError."""
        return x509.load_pem_x509_certificates(self.certificate.read_bytes())[0]


# -- contexts ------------------------------------------------------------------------------------------------------


def relay_server_context(identity: Identity, anchors: Anchors, *, tls13_only: bool = False) -> ssl.SSLContext:
    """Port 25: asks for a client certificate, accepts any or none; `Trust.require` judges it."""
    context = _server(identity, _GCM, tls13_only=tls13_only)
    context.verify_mode = ssl.CERT_OPTIONAL
    # Judges only where the mechanism is missing. Given as data, it sends no list of acceptable names (RFC 8446 4.2.4), so a
    # peer shows the certificate it has, whoever issued it, and learns what is wrong with it.
    context.load_verify_locations(cadata=anchors.pem())
    accept_unverified(context)
    return context


def relay_client_context(identity: Identity, anchors: Anchors, *, tls13_only: bool = False) -> ssl.SSLContext:
    """Outgoing relay: shows our certificate, takes the server's unjudged. Judge it with `Trust.require(…, Step.RELAY)`.

    The host name is not looked at: an operator is known by its listed subject, not by its MX (docs/reference/mssante.md 1.5).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_cert_chain(identity.certificate, identity.key)
    context.load_verify_locations(cadata=anchors.pem())
    _common(context, _GCM, tls13_only=tls13_only)
    accept_unverified(context)
    return context


def client_facing_context(identity: Identity, *, cbc: bool = True, others: Sequence[Identity] = ()) -> ssl.SSLContext:
    """Mail clients and browsers: no client certificate; TLS 1.2 and 1.3, and the two CBC suites that the national
    list demands (ECO.1.1.3) unless switched off. `others`: shown to clients that ask for a DNS name in them (SNI, RFC 6066 3)."""
    suites = (*_GCM, *_NATIONAL_CBC) if cbc else _GCM
    context = _server(identity, suites)
    by_name = {name.lower(): other for each in others for other in [_server(each, suites)] for name in dns_names(each)}
    if by_name:

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            asked = (name or "").lower()
            if chosen := by_name.get(asked) or by_name.get(f"*.{asked.partition('.')[2]}"):
                connection.context = chosen

        context.sni_callback = choose
    return context


def dns_names(identity: Identity) -> tuple[str, ...]:
    """The DNS names in the certificate. Raises OSError, ValueError."""
    try:
        names = identity.leaf().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.DNSName))


def hospital_context(identity: Identity, client_ca: Path | None, *, require: bool, cbc: bool = True) -> ssl.SSLContext:
    """The hospital's own relay: OpenSSL verifies against the hospital's authorities, which are not part of the trust space."""
    context = _server(identity, (*_GCM, *_NATIONAL_CBC) if cbc else _GCM)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_OPTIONAL
    return context


def _server(identity: Identity, suites: Sequence[str], *, tls13_only: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    context.num_tickets = 0  # TLS 1.3
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE  # TLS 1.2
    _common(context, suites, tls13_only=tls13_only)
    _no_session_cache(context)
    return context


def _common(context: ssl.SSLContext, suites: Sequence[str], *, tls13_only: bool) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls13_only else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(suites))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def peer_certificate(connection: ssl.SSLObject | ssl.SSLSocket | None) -> bytes | None:
    """The DER the peer presented and proved to own, or None. `transport.get_extra_info("ssl_object")` gives the connection."""
    return connection.getpeercert(binary_form=True) if connection else None


# -- OpenSSL, for what `ssl` does not offer ------------------------------------------------------------------------

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_ACCEPT = _Callback(lambda _store, _argument: 1)  # kept alive for as long as OpenSSL may call it
_SSL_CTRL_SET_SESS_CACHE_MODE = 44


@cache
def _openssl() -> ctypes.CDLL | None:
    """The OpenSSL that `ssl` itself uses: symbols are looked up through its extension module."""
    if sys.implementation.name != "cpython" or not KNOWN_CPYTHON[0] <= sys.version_info[:2] <= KNOWN_CPYTHON[1]:
        return None
    import _ssl

    try:
        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        library.SSL_CTX_set_cert_verify_callback.argtypes = [ctypes.c_void_p, _Callback, ctypes.c_void_p]
        library.SSL_CTX_set_cert_verify_callback.restype = None
        library.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
        library.SSL_CTX_ctrl.restype = ctypes.c_long
    except (OSError, AttributeError):
        return None
    return library


def _pointer(context: ssl.SSLContext) -> int:
    """The SSL_CTX* of a context: the first field after the object header."""
    return int(ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value or 0)


def accept_unverified(context: ssl.SSLContext) -> bool:
    """Let the handshake finish whatever the peer's certificate is. Returns whether it worked; if not, OpenSSL goes on verifying."""
    if not mechanism():
        return False
    library = _openssl()
    assert library is not None
    library.SSL_CTX_set_cert_verify_callback(_pointer(context), _ACCEPT, None)
    return True


def _no_session_cache(context: ssl.SSLContext) -> None:
    """TLS 1.2 sessions by id (RFC 5246 F.1.4): OP_NO_TICKET alone leaves them."""
    if library := _openssl():
        library.SSL_CTX_ctrl(_pointer(context), _SSL_CTRL_SET_SESS_CACHE_MODE, 0, None)


@cache
def mechanism() -> bool:
    """Whether unverified peers can be let in to be judged by us. Tested once per process, with real handshakes."""
    library = _openssl()
    if library and self_test(lambda context: library.SSL_CTX_set_cert_verify_callback(_pointer(context), _ACCEPT, None)):
        return True
    log(Event.TLS_FALLBACK, "warning", python=sys.version.split()[0], openssl=ssl.OPENSSL_VERSION)
    return False


def self_test(install: Callable[[ssl.SSLContext], Any]) -> bool:
    """Handshakes with an expired, self-signed client certificate, TLS 1.2 and 1.3: refused before `install`, seen after."""
    with tempfile.TemporaryDirectory(prefix="mssgw-tls-") as name:
        identity, der = _throwaway(Path(name))
        return all(
            _sees(identity, version, None) is None and _sees(identity, version, install) == der
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        )


def _sees(identity: Identity, version: ssl.TLSVersion, install: Callable[[ssl.SSLContext], Any] | None) -> bytes | None:
    """What the server learns of a client's certificate; None when the handshake fails."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    server.verify_mode = ssl.CERT_OPTIONAL
    for context in (server, client):
        context.load_cert_chain(identity.certificate, identity.key)
        context.minimum_version = context.maximum_version = version
    if install:
        install(server)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server)
    try:
        for _ in range(4):
            _step(here)
            _step(there)
    except ssl.SSLError:
        return None
    return there.getpeercert(binary_form=True)


def _step(connection: ssl.SSLObject) -> None:
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return


def _throwaway(directory: Path) -> tuple[Identity, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-test")])
    ended = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ended - timedelta(days=1))
        .not_valid_after(ended)
        .sign(key, hashes.SHA256())
    )
    identity = Identity(directory / "cert.pem", directory / "key.pem")
    identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    identity.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return identity, certificate.public_bytes(serialization.Encoding.DER)
