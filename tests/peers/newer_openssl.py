"""The libcrypto that psycopg's wheel brings along, newer than the system's openssl program: its CMS functions, called directly."""

from __future__ import annotations

import ctypes
import os
from functools import cached_property
from pathlib import Path

import pytest

BINARY, NO_SIGNER_CERT_VERIFY = 0x80, 0x20
PARTIAL = 0x4000


class NewerOpenSsl:
    """Octets in, octets out. Every error of the library is raised as `Refused`."""

    class Refused(Exception):
        pass

    def __init__(self, path: Path) -> None:
        self._lib = ctypes.CDLL(str(path))
        for name in (
            "BIO_new_mem_buf",
            "BIO_new",
            "BIO_s_mem",
            "PEM_read_bio_PrivateKey",
            "PEM_read_bio_X509",
            "d2i_CMS_bio",
            "CMS_encrypt",
            "CMS_sign",
            "CMS_add1_signer",
            "EVP_get_cipherbyname",
            "EVP_get_digestbyname",
            "OPENSSL_sk_new_null",
            "EVP_PKEY_CTX_new",
            "X509_get_pubkey",
        ):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._lib.OpenSSL_version.restype = ctypes.c_char_p
        self._lib.ERR_get_error.restype = ctypes.c_ulong
        self._kept: list[bytes] = []

    @classmethod
    def found(cls) -> NewerOpenSsl:
        """Skips the test when there is none."""
        pytest.importorskip("psycopg")
        module = pytest.importorskip("psycopg_binary")
        path = next((Path(module.__file__).parent.parent / "psycopg_binary.libs").glob("libcrypto*"), None)
        made = cls(path) if path else None
        if made is None or made.version < (3, 5):
            if os.environ.get("MSSGW_REQUIRE_PEERS"):
                pytest.fail("psycopg[binary] has no OpenSSL of 3.5 or later")
            pytest.skip("no OpenSSL of 3.5 or later")
        return made

    @cached_property
    def version(self) -> tuple[int, int]:
        number = self._lib.OpenSSL_version(0).decode().split()[1]
        major, minor = number.split(".")[:2]
        return int(major), int(minor)

    def _in(self, octets: bytes) -> ctypes.c_void_p:
        self._kept.append(octets)  # the BIO does not copy
        return ctypes.c_void_p(self._lib.BIO_new_mem_buf(octets, len(octets)))

    def _new(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._lib.BIO_new(ctypes.c_void_p(self._lib.BIO_s_mem())))

    def _out(self, bio: ctypes.c_void_p) -> bytes:
        start = ctypes.c_char_p()
        size = self._lib.BIO_ctrl(bio, 3, 0, ctypes.byref(start))  # BIO_CTRL_INFO
        return ctypes.string_at(start, size) if size else b""

    def _need(self, pointer: int | None) -> ctypes.c_void_p:
        if not pointer:
            text = ctypes.create_string_buffer(256)
            said = []
            while code := self._lib.ERR_get_error():
                self._lib.ERR_error_string_n(ctypes.c_ulong(code), text, 256)
                said.append(text.value.decode())
            raise self.Refused("; ".join(said))
        return ctypes.c_void_p(pointer)

    def _pair(self, certificate: bytes, key: bytes) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
        return (
            self._need(self._lib.PEM_read_bio_X509(self._in(certificate), None, None, None)),
            self._need(self._lib.PEM_read_bio_PrivateKey(self._in(key), None, None, None)),
        )

    def verify(self, cms: bytes) -> bytes:
        """The content of an opaque SignedData whose signatures hold; certificates are not judged."""
        out = self._new()
        parsed = self._need(self._lib.d2i_CMS_bio(self._in(cms), None))
        self._need(self._lib.CMS_verify(parsed, None, None, None, out, NO_SIGNER_CERT_VERIFY))
        return self._out(out)

    def sign(self, content: bytes, certificate: bytes, key: bytes, digest: str) -> bytes:
        made = self._need(self._lib.CMS_sign(None, None, None, self._in(content), BINARY | PARTIAL))
        kind = self._need(self._lib.EVP_get_digestbyname(digest.encode()))
        self._need(self._lib.CMS_add1_signer(made, *self._pair(certificate, key), kind, BINARY))
        self._need(self._lib.CMS_final(made, self._in(content), None, BINARY))
        out = self._new()
        self._need(self._lib.i2d_CMS_bio(out, made))
        return self._out(out)

    def decrypt(self, cms: bytes, certificate: bytes, key: bytes) -> bytes:
        cert, private = self._pair(certificate, key)
        parsed, out = self._need(self._lib.d2i_CMS_bio(self._in(cms), None)), self._new()
        self._need(self._lib.CMS_decrypt(parsed, private, cert, None, out, 0))
        return self._out(out)

    def encrypt(self, content: bytes, certificate: bytes, cipher: str) -> bytes:
        readers = ctypes.c_void_p(self._lib.OPENSSL_sk_new_null())
        self._lib.OPENSSL_sk_push(readers, self._need(self._lib.PEM_read_bio_X509(self._in(certificate), None, None, None)))
        kind = self._need(self._lib.EVP_get_cipherbyname(cipher.encode()))
        made, out = self._need(self._lib.CMS_encrypt(readers, self._in(content), kind, BINARY)), self._new()
        self._need(self._lib.i2d_CMS_bio(out, made))
        return self._out(out)

    # 3.5 has ML-KEM itself, but no KEMRecipientInfo in CMS

    def _context(self, key: ctypes.c_void_p) -> ctypes.c_void_p:
        return self._need(self._lib.EVP_PKEY_CTX_new(key, None))

    def decapsulate(self, ciphertext: bytes, certificate: bytes, key: bytes) -> bytes:
        context = self._context(self._pair(certificate, key)[1])
        self._need(self._lib.EVP_PKEY_decapsulate_init(context, None))
        secret, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        self._need(self._lib.EVP_PKEY_decapsulate(context, secret, ctypes.byref(size), ciphertext, ctypes.c_size_t(len(ciphertext))))
        return secret.raw[: size.value]

    def encapsulate(self, certificate: bytes) -> tuple[bytes, bytes]:
        """(shared secret, ciphertext)."""
        cert = self._need(self._lib.PEM_read_bio_X509(self._in(certificate), None, None, None))
        context = self._context(self._need(self._lib.X509_get_pubkey(cert)))
        self._need(self._lib.EVP_PKEY_encapsulate_init(context, None))
        secret, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        ciphertext, length = ctypes.create_string_buffer(4096), ctypes.c_size_t(4096)
        self._need(self._lib.EVP_PKEY_encapsulate(context, ciphertext, ctypes.byref(length), secret, ctypes.byref(size)))
        return secret.raw[: size.value], ciphertext.raw[: length.value]
