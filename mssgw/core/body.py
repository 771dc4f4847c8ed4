"""Body: the octets of one message, small in memory and large in an unlinked temporary file.

Everything that carries a message from one layer to the next carries a Body. It is written once by a
BodyWriter (hashing as it goes once it is large), read many times, by several readers at once, and gone when it is
closed or when the process dies: the file has no name, so nothing is left behind (docs/reference/crypto.md 4.4).
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, NewType, Self

BlobId = NewType("BlobId", str)  # SHA-256 of the plain octets, 64 hex digits

SPOOL_LIMIT = 256 * 1024  # octets kept in memory
CHUNK = 64 * 1024


class Body:
    """Immutable octets, `size` of them."""

    __slots__ = ("_blob", "_data", "_fd", "size")

    def __init__(self, data: bytes | None, fd: int | None, size: int, blob: BlobId | None) -> None:
        self._data, self._fd, self.size, self._blob = data, fd, size, blob

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(data, None, len(data), None)

    @property
    def blob(self) -> BlobId:
        """Their SHA-256. Of a small body it is computed when first asked for: most are read and rewritten, few are kept."""
        if self._blob is None:
            digest = hashlib.sha256()
            for chunk in self.chunks():
                digest.update(chunk)
            self._blob = BlobId(digest.hexdigest())
        return self._blob

    def open(self) -> BinaryIO:
        """A new independent reader at offset 0."""
        if self._data is not None:
            return io.BytesIO(self._data)
        return io.BufferedReader(_PositionedReader(self._need_fd(), self.size), CHUNK)

    def read(self, start: int = 0, size: int | None = None) -> bytes:
        """`size` octets from `start`; to the end when size is None."""
        stop = self.size if size is None else min(self.size, start + size)
        if self._data is not None:
            return self._data if start == 0 and stop == self.size else self._data[start:stop]
        parts: list[bytes] = []
        while start < stop and (part := os.pread(self._need_fd(), stop - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        if self._data is not None and self.size <= size:
            yield self._data
            return
        for start in range(0, self.size, size):
            yield self.read(start, size)

    @property
    def in_memory(self) -> bool:
        return self._data is not None

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _need_fd(self) -> int:
        if self._fd is None:
            raise ValueError("the body is closed")
        return self._fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class BodyWriter:
    """Collects octets. Ends with `finish()` or `abort()`; nothing readable exists before `finish`."""

    __slots__ = ("_dir", "_file", "_hash", "_parts", "size")

    def __init__(self, spool_dir: str | os.PathLike[str] | None = None) -> None:
        self._dir = spool_dir
        self._parts: list[bytes] = []
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self._file is None:
            self._parts.append(bytes(data))
            if self.size > SPOOL_LIMIT:
                self._spill()
        else:
            self._hash.update(data)
            self._file.write(data)
        return len(data)

    def _spill(self) -> None:
        file: BinaryIO = tempfile.TemporaryFile(dir=self._dir, buffering=CHUNK)  # type: ignore[assignment]  # noqa: SIM115
        for part in self._parts:
            self._hash.update(part)
            file.write(part)
        self._file = file
        self._parts.clear()

    def finish(self) -> Body:
        if self._file is None:
            return Body(b"".join(self._parts), None, self.size, None)
        self._file.flush()
        blob = BlobId(self._hash.hexdigest())
        fd = os.dup(self._file.fileno())
        self.abort()
        return Body(None, fd, self.size, blob)

    def abort(self) -> None:
        self._parts.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


class _PositionedReader(io.RawIOBase):
    """Reads one descriptor at its own position, so that readers don't disturb each other."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._size, self._at = os.dup(fd), size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        count = os.preadv(self._fd, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()
