"""What goes over the agent's socket: one JSON object on each line, both ways, of at most MAX_FRAME octets.

    client                                                   agent
    {"hello": 1, "version", "config", "argv", …}        →    {"run": true} | {"alone": WHY}
    {"cancel": "SIGINT"}                                →
                                                        ←    {"out": TEXT} {"err": TEXT} {"octets": BASE64} {"bar": […]}
    {"answer": TEXT or null}                            ↔    {"ask": "line" | "hidden" | "pin", "prompt": TEXT}
    {"seen": […]}, or a descriptor with {"opened": 0}   ↔    {"seen": PATH}, {"open": PATH, "how": HOW}
    {"entered": true}                                   ↔    {"enter": true}
                                                        ←    {"end": STATUS}

    {"hello": 1, …, "status": true} or "stop"           ↔    {"status": {…}}, {"stopping": true}

A descriptor travels as SCM_RIGHTS with the line that announces it (unix(7)).
"""

from __future__ import annotations

import json
import os
import socket

PROTOCOL = 1
MAX_FRAME = 1 << 20
PIECE = 1 << 17  # characters of text in one frame: six octets each, escaped, at most
_READ = 1 << 16


class BadFrame(Exception):
    """Not one of our lines: too long, not JSON, not an object. The connection is given up."""


class Line:
    """One end of a connection. Not for two threads that write, or two that read, at once."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = bytearray()
        self.descriptors: list[int] = []  # that came, and that nobody has taken yet

    def send(self, frame: dict[str, object], descriptor: int | None = None) -> None:
        """Raises OSError, BadFrame for one that is too long."""
        line = json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"
        if len(line) > MAX_FRAME:
            raise BadFrame("too long")
        if descriptor is not None:
            sent = socket.send_fds(self.socket, [line], [descriptor])
            line = line[sent:]
        self.socket.sendall(line)

    def receive(self, *, descriptors: bool = False) -> dict[str, object] | None:
        """The next frame; None at the end. `descriptors`: take those that come with it, one at most. Raises BadFrame, OSError."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) >= MAX_FRAME:
                raise BadFrame("too long")
            piece = self._read(descriptors)
            if not piece:
                return None
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if end >= MAX_FRAME:
            raise BadFrame("too long")
        try:
            frame = json.loads(line.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError) as error:
            raise BadFrame("not JSON") from error
        if not isinstance(frame, dict):
            raise BadFrame("not an object")
        return frame

    @property
    def waiting(self) -> bool:
        """A whole frame has been read already, and not been asked for."""
        return b"\n" in self._buffer

    def _read(self, descriptors: bool) -> bytes:
        if not descriptors:
            return self.socket.recv(_READ)
        piece, came, _, _ = socket.recv_fds(self.socket, _READ, 4)
        self.descriptors += came
        for extra in self.descriptors[1:]:
            os.close(extra)
        del self.descriptors[1:]
        return piece

    def taken(self) -> int:
        """The descriptor that came with the last frame. Raises BadFrame: none did."""
        if not self.descriptors:
            raise BadFrame("no descriptor")
        return self.descriptors.pop()

    def close(self) -> None:
        """Also the descriptors that nobody took."""
        while self.descriptors:
            os.close(self.descriptors.pop())
        self.socket.close()
