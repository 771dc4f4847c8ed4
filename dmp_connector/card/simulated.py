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
from typing import Any, Protocol, Self

from dmp_connector.card.vitale import AID


def atr(historical: bytes) -> bytes:
    """Answer to reset of a T=1 card with these historical bytes, 15 at most (ISO 7816-3 8.2), and the check byte TCK."""
    body = bytes((0x3B, 0x80 | len(historical), 0x80, 0x01)) + historical
    check = 0
    for byte in body[1:]:
        check ^= byte
    return body + bytes((check,))


class Applet(Protocol):
    """What answers inside a card."""

    @property
    def atr(self) -> bytes:
        """Answer to reset (ISO 7816-3 8.2)."""

    def power(self) -> None:
        """The power went, came, or the card was reset: what a reader proved is forgotten."""

    def answer(self, apdu: bytes) -> bytes:
        """The response to one command (ISO 7816-4 5.1), its last two octets the status."""


class VirtualCard:
    """A card that is inserted from when the object is made until it is pulled. Raises OSError when no vpcd listens there."""

    def __init__(self, applet: Applet, *, host: str = "127.0.0.1", port: int = 0x8C7B) -> None:
        self._applet = applet
        self._socket = socket.create_connection((host, port), timeout=10)
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._serve, name="virtual card", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pull()

    def pull(self) -> None:
        """Take the card out; it may do that itself, in the middle of a command."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if threading.current_thread() is not self._thread:
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
                        self._answer(self._applet.atr)
                    else:
                        self._applet.power()
                    continue
                self._answer(self._applet.answer(message))

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


class SimulatedCard(VirtualCard):
    """A Vitale. `content`: what READ BINARY gives; None: a card without our application."""

    def __init__(self, content: Mapping[str, Any] | None, *, host: str = "127.0.0.1", port: int = 0x8C7B) -> None:
        super().__init__(_Vitale(json.dumps(content).encode() if content is not None else None), host=host, port=port)


class _Vitale:
    def __init__(self, data: bytes | None) -> None:
        self.atr, self._data, self._selected = atr(b"MSSGW-VITA"), data, False

    def power(self) -> None:
        self._selected = False

    def answer(self, apdu: bytes) -> bytes:
        if self._data is not None and apdu[:4] == bytes.fromhex("00A40400") and apdu[5 : 5 + apdu[4]] == AID:
            self._selected = True
            return b"\x90\x00"
        if self._data is not None and self._selected and apdu[:2] == b"\x00\xb0":
            start = apdu[2] << 8 | apdu[3]
            piece = self._data[start : start + (apdu[4] or 256)]
            return piece + (b"\x90\x00" if start + len(piece) < len(self._data) else b"\x62\x82")
        return b"\x6a\x82" if apdu[:2] == b"\x00\xa4" else b"\x6d\x00"
