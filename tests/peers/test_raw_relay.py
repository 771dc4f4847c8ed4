"""What really leaves the gateway: gamma's MX catches it, openssl decrypts and verifies it."""

import re
import socket
import ssl
import subprocess
import threading

import pytest


class Gamma(threading.Thread):
    """A small MX with gamma's certificate: takes one message and keeps its octets."""

    def __init__(self, world):
        super().__init__(daemon=True)
        row = world.description["peers"]["valid"]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(world.path(row["cert"]), world.path(row["key"]))
        self.context.load_verify_locations(world.path("pki/igc.pem"))
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", row["mx_port"]))
        self.listener.settimeout(60)
        self.content = b""

    def run(self):
        with self.listener, self.listener.accept()[0] as plain:
            plain.sendall(b"220 mx.gamma.mssante.test ESMTP\r\n")
            while plain.recv(1000)[:4].upper() == b"EHLO":
                plain.sendall(b"250-mx.gamma.mssante.test\r\n250 STARTTLS\r\n")
            plain.sendall(b"220 go\r\n")
            with self.context.wrap_socket(plain, server_side=True) as tls, tls.makefile("rb") as lines:
                self.talk(tls, lines)

    def talk(self, tls, lines):
        for line in lines:
            verb = line[:4].upper()
            if verb == b"EHLO":
                tls.sendall(b"250-mx.gamma.mssante.test\r\n250-8BITMIME\r\n250 DSN\r\n")
            elif verb == b"DATA":
                tls.sendall(b"354 go\r\n")
                self.content = b"".join(iter(lines.readline, b".\r\n")).replace(b"\r\n..", b"\r\n.")
                tls.sendall(b"250 2.0.0 got it\r\n")
                return
            else:
                tls.sendall(b"250 2.0.0 ok\r\n")


def openssl(*arguments, octets):
    return subprocess.run(["openssl", "cms", *map(str, arguments)], input=octets, capture_output=True, check=False, timeout=30)


@pytest.mark.peer("openssl")
def test_openssl_decrypts_and_verifies_the_relayed_message(world, tmp_path):
    recipient = world.description["peers"]["valid"]["recipient"]
    message = world.message(1, 3000, to=recipient["address"])
    gamma = Gamma(world)
    gamma.start()
    with world.submission() as client:
        client.send_message(message)
    gamma.join(60)
    raw = gamma.content
    assert b"Lettre de liaison" not in raw
    decrypted = openssl("-decrypt", "-recip", world.path(recipient["cert"]), "-inkey", world.path(recipient["key"]), octets=raw)
    assert decrypted.returncode == 0, decrypted.stderr
    verified = openssl(
        "-verify",
        "-CAfile",
        world.path(world.description["ca"]),
        "-purpose",
        "any",
        "-signer",
        tmp_path / "signer.pem",
        octets=decrypted.stdout,
    )
    assert verified.returncode == 0, verified.stderr
    assert b"Verification successful" in verified.stderr
    assert b"Lettre de liaison" in verified.stdout
    signer = subprocess.run(["openssl", "x509", "-in", tmp_path / "signer.pem", "-noout", "-email"], capture_output=True, check=True).stdout
    assert signer.decode().split() == [world.martin["address"]]
    assert re.search(rb"^Subject: ", raw, re.MULTILINE), "the subject stays clear by policy"
