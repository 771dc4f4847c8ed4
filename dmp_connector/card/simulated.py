"""A card in a virtual PC/SC reader (vpcd): for tests and demonstrations, through the real pcscd.

Speaks vpcd's protocol as its card side: TCP to the driver, each message two octets of length and the message;
one octet 0, 1, 2 is power off, power on, reset, 4 asks for the ATR. Closing the connection pulls the card.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dmp_connector.card.vitale import AID


def atr() -> bytes:
    """T=1 card, ten historical bytes "MSSGW-VITA", check byte TCK."""
    body = bytes.fromhex("3B8A8001") + b"MSSGW-VITA"
    check = 0
    for byte in body[1:]:
        check ^= byte
    return body + bytes((check,))


class SimulatedCard:
    """Inserted while the object is open. `content`: what READ BINARY gives; None: a card without our application."""

    def __init__(self, content: Mapping[str, Any] | None, *, host: str = "127.0.0.1", port: int = 0x8C7B) -> None:
        self._data = json.dumps(content).encode() if content is not None else None
        self._selected = False
        self._socket = socket.create_connection((host, port), timeout=10)
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._serve, name="simulated card", daemon=True)
        self._thread.start()

    def __enter__(self) -> SimulatedCard:
        return self

    def __exit__(self, *_: object) -> None:
        self.pull()

    def pull(self) -> None:
        """Take the card out."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                head = self._exactly(2)
                if head is None:
                    return
                message = self._exactly(struct.unpack("!H", head)[0])
                if message is None:
                    return
                if len(message) == 1:
                    if message[0] == 4:  # the driver asks for it every moment, also in mid-reading
                        self._answer(atr())
                    else:
                        self._selected = False
                    continue
                self._answer(self._apdu(message))

    def _exactly(self, size: int) -> bytes | None:
        found = b""
        while len(found) < size:
            piece = self._socket.recv(size - len(found))
            if not piece:
                return None
            found += piece
        return found

    def _answer(self, message: bytes) -> None:
        self._socket.sendall(struct.pack("!H", len(message)) + message)

    def _apdu(self, apdu: bytes) -> bytes:
        if self._data is not None and apdu[:4] == bytes.fromhex("00A40400") and apdu[5 : 5 + apdu[4]] == AID:
            self._selected = True
            return b"\x90\x00"
        if self._data is not None and self._selected and apdu[:2] == b"\x00\xb0":
            start = apdu[2] << 8 | apdu[3]
            piece = self._data[start : start + (apdu[4] or 256)]
            return piece + (b"\x90\x00" if start + len(piece) < len(self._data) else b"\x62\x82")
        return b"\x6a\x82" if apdu[:2] == b"\x00\xa4" else b"\x6d\x00"
