"""Content by SHA-256, sealed: up to 256 KiB inside the database, larger as files below `data/blobs`.

`prepare` seals and, for large bodies, writes tmp -> fsync -> rename -> fsync folder; nothing refers to the
file yet. `add`, inside a transaction, makes the row; the same content of one domain is kept once. A crash
in between leaves a file without a row, which `sweep` removes after a day. Large bodies are decrypted
64 KiB at a time, straight from the sealed file; they are never in clear on disk.

Below the free-disk floor of `limits.free_disk`, and when the disk is full, `prepare` raises NoRoom (452 4.3.1).
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, NewType, Protocol, TypeVar

import sqlalchemy as sa

from mssgw.core.address import Domain
from mssgw.core.body import SPOOL_LIMIT, BlobId, Body
from mssgw.core.errors import Deferred, NoRoom
from mssgw.observe import Event, crash_point, log
from mssgw.store import keys, schema
from mssgw.store.engine import Reader, Readers, Transaction, Writer
from mssgw.store.seal import CHUNK, FILE_HEADER, TAG, ChunkSeal, Seal, SealBroken, UnknownKey

T = TypeVar("T")

ContentId = NewType("ContentId", int)  # one content of one domain

INLINE = SPOOL_LIMIT  # a small content stands in the database: a file would cost two fsyncs and a rename more
_SPACE_CHECK_SECONDS = 1.0


class Summary(Protocol):
    """What is computed once at delivery; `protocol.mime.Summary` is one. All IMAP wire octets."""

    @property
    def envelope(self) -> bytes: ...
    @property
    def bodystructure(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    @property
    def header_size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SealedSummary:
    envelope: bytes
    bodystructure: bytes
    body: bytes
    header_size: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """Sealed content, durable if large, not yet referred to. May be added in several transactions."""

    domain: Domain
    blob: BlobId
    size: int
    sealed: bytes | None
    file: str | None
    summary: SealedSummary | None


_content = schema.content.c
_FIND = (
    sa.select(_content.id)
    .where(  # with a shared lock of the row, so that it isn't swept before we commit
        _content.domain == sa.bindparam("domain"), _content.hash == sa.bindparam("hash")
    )
    .with_for_update(key_share=True, read=True)
)
_ADD = {dialect: schema.insert_new(dialect, schema.content, _content.id) for dialect in ("sqlite", "postgresql")}
_ADD_SUMMARY = {dialect: schema.insert_new(dialect, schema.summary) for dialect in ("sqlite", "postgresql")}
_GET = sa.select(_content.id, _content.hash, _content.size, _content.sealed, _content.file).where(schema.among(_content.id, "ids"))


def add(tx: Transaction, prepared: Prepared) -> ContentId:
    """The row of a prepared content; an equal one of the same domain serves as well."""
    key = {"domain": prepared.domain, "hash": bytes.fromhex(prepared.blob)}
    row = {**key, "size": prepared.size, "sealed": prepared.sealed, "file": prepared.file, "created": tx.now}
    found = None
    while found is None:  # the second round is for a row that was swept between the two queries
        ((found,),) = tx.raw(_ADD[tx.dialect], row) or tx.raw(_FIND, key) or ((None,),)
    if (summary := prepared.summary) is not None:
        tx.raw(
            _ADD_SUMMARY[tx.dialect],
            {"content_id": found, "envelope": summary.envelope, "bodystructure": summary.bodystructure, "body": summary.body},
        )
    return ContentId(found)


def purpose(what: bytes, digest: bytes) -> bytes:
    """The context to which a sealed value is bound (AEAD associated data)."""
    return what + b"\0" + digest


class Blobs:
    def __init__(self, writer: Writer, readers: Readers, seal: Seal, directory: Path, free_disk: int) -> None:
        self._writer, self._readers, self._seal = writer, readers, seal
        self._directory, self._free_disk = directory, free_disk
        self._space_checked = 0.0
        self._ready: set[Path] = set()
        for path in (directory, directory / "tmp"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (directory, directory.parent, directory.parent.parent):
            _fsync_directory(path)

    @property
    def directory(self) -> Path:
        return self._directory

    def require_room(self, size: int = 0) -> None:
        """Raises NoRoom when the disk is nearly full. For small contents the disk is checked now and then."""
        now = time.monotonic()
        if now - self._space_checked < _SPACE_CHECK_SECONDS and size <= INLINE:
            return
        disk = os.statvfs(self._directory)
        if disk.f_bavail * disk.f_frsize < self._free_disk + size:
            raise NoRoom(detail=f"less than {self._free_disk} octets are free below {self._directory}")
        self._space_checked = now

    async def prepare(self, body: Body, domain: Domain, summary: Summary | None = None) -> Prepared:
        """Seal a body (and what was computed from it) under the domain's key. Raises NoRoom, Deferred."""
        seal = self._seal
        if not seal.knows(domain):
            await keys.make(self._writer, self._readers, domain)
        self.require_room(body.size)
        digest = bytes.fromhex(body.blob)
        sealed, file = None, None
        if body.size <= INLINE:
            sealed = seal.seal(domain, purpose(b"content", digest), body.read())
        else:
            file = await asyncio.to_thread(self._write, body, seal.seal_file(domain, purpose(b"content", digest)))
        described = None if summary is None else seal_summary(seal, domain, digest, summary)
        return Prepared(domain, body.blob, body.size, sealed, file, described)

    async def drop_unused(self, added: Iterable[Prepared]) -> None:
        """After the commit: remove the files of contents whose equal was in the store already. Raises Deferred.

        Nothing ever refers to them; the sweep would find them too, after its time.
        """
        files = [one.file for one in added if one.file]
        if files:
            rows = await self._readers.read(lambda rx: rx.run(sa.select(_content.file).where(_content.file.in_(files))).all())
            for file in {*files} - {row.file for row in rows}:
                (self._directory / file).unlink(missing_ok=True)

    async def read(self, content: ContentId) -> Body:
        """The body of a content. Raises Deferred when it is gone or broken."""
        return (await self.read_many((content,)))[content]

    async def read_many(self, contents: Iterable[ContentId]) -> dict[ContentId, Body]:
        """Several bodies in one go; small ones are whole, large ones read as they are needed."""
        wanted = list(contents)
        bodies = await self._readers.read(lambda rx: self.bodies(rx, wanted))
        for content in wanted:
            if content not in bodies:
                raise Deferred(detail=f"content {content} is not in the store")
        return bodies

    def bodies(self, rx: Reader, contents: list[ContentId]) -> dict[ContentId, Body]:
        """The same, for callers already inside a transaction. Content that isn't there is left out."""
        return bodies(rx, self._directory, contents)

    # -- files ---------------------------------------------------------------------------------------

    def _write(self, body: Body, cipher: ChunkSeal) -> str:
        name = f"{body.blob[:2]}/{body.blob}-{os.urandom(6).hex()}"
        target, temporary = self._directory / name, self._directory / "tmp" / os.urandom(12).hex()
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(cipher.header)
                file.writelines(cipher.seal(number, last, chunk) for number, last, chunk in _numbered(body))
                file.flush()
                crash_point("blob.before_fsync")
                os.fsync(fd)
            crash_point("blob.before_rename")
            self._make_ready(target.parent)
            os.rename(temporary, target)
            crash_point("blob.before_directory_fsync")
            _fsync_directory(target.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRoom(detail=f"blob file: {error.strerror}") from error
            raise Deferred("Mail store unavailable, try again later", detail=f"blob file: {error.strerror}") from error
        crash_point("blob.written")
        return name

    def _make_ready(self, folder: Path) -> None:
        """Makes a folder for files, durably; once in each process, because another one may be about to make it durable."""
        if folder not in self._ready:
            folder.mkdir(mode=0o700, exist_ok=True)
            _fsync_directory(self._directory)
            self._ready.add(folder)


def seal_summary(seal: Seal, domain: Domain, digest: bytes, summary: Summary) -> SealedSummary:
    return SealedSummary(
        seal.seal(domain, purpose(b"envelope", digest), summary.envelope),
        seal.seal(domain, purpose(b"bodystructure", digest), summary.bodystructure),
        seal.seal(domain, purpose(b"body", digest), summary.body),
        summary.header_size,
    )


def bodies(rx: Reader, directory: Path, contents: list[ContentId]) -> dict[ContentId, Body]:
    """Bodies whose files lie below `directory`. Content that isn't there is left out. Raises Deferred when a file is gone."""
    return {
        ContentId(number): _body(rx, directory, digest, size, sealed, file)
        for number, digest, size, sealed, file in rx.raw(_GET, {"ids": contents})
    }


def files_of(rx: Reader, contents: list[ContentId]) -> list[str]:
    """The names, below the directory of blobs, of the files that these contents have; small ones have none."""
    return [file for *_, file in rx.raw(_GET, {"ids": contents}) if file]


def _body(rx: Reader, directory: Path, digest: bytes, size: int, sealed: bytes | None, file: str | None) -> Body:
    blob, bound = BlobId(digest.hex()), purpose(b"content", digest)
    if sealed is not None:
        return Body(open_sealed(rx, sealed, bound), None, size, blob)
    try:
        fd = os.open(directory / (file or ""), os.O_RDONLY | os.O_CLOEXEC)
        try:
            header = os.pread(fd, FILE_HEADER, 0)
            return SealedBody(fd, size, blob, _opened(rx, lambda: rx.context.seal.open_file(header, bound)))
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        log(Event.STORE_BODY_MISSING, "error", file=file, reason=error.strerror)
        raise Deferred(detail=f"blob file {file}: {error.strerror}") from error


def open_sealed(rx: Reader, sealed: bytes, bound: bytes) -> bytes:
    """Open a value. Raises SealBroken."""
    return _opened(rx, lambda: rx.context.seal.open(sealed, bound))


def _opened(rx: Reader, opening: Callable[[], T]) -> T:
    """Runs `opening`; loads the keys again when another process has just made the one it needs. Raises SealBroken."""
    try:
        return opening()
    except UnknownKey:
        keys.load(rx)
    try:
        return opening()
    except UnknownKey as error:
        raise SealBroken(detail=f"sealed under key {error}, which this store does not have") from None


def _numbered(body: Body) -> Iterator[tuple[int, bool, bytes]]:
    last = (body.size - 1) // CHUNK
    for number, chunk in enumerate(body.chunks(CHUNK)):
        yield number, number == last, chunk


def _fsync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class SealedBody(Body):
    """A large body, opened chunk by chunk as it is read."""

    __slots__ = ("_cipher",)

    def __init__(self, fd: int, size: int, blob: BlobId, cipher: ChunkSeal) -> None:
        super().__init__(None, fd, size, blob)
        self._cipher = cipher

    def open(self) -> BinaryIO:
        return BufferedReader(_Reading(self), CHUNK)

    def read(self, start: int = 0, size: int | None = None) -> bytes:
        """Raises SealBroken when the file was changed or cut."""
        stop = self.size if size is None else min(self.size, start + size)
        if start >= stop:
            return b""
        first, last = start // CHUNK, (stop - 1) // CHUNK
        octets = b"".join(self._chunk(number) for number in range(first, last + 1))
        return octets[start - first * CHUNK : stop - first * CHUNK]

    def _chunk(self, number: int) -> bytes:
        sealed = os.pread(self._need_fd(), CHUNK + TAG, FILE_HEADER + number * (CHUNK + TAG))
        return self._cipher.open(number, number == (self.size - 1) // CHUNK, sealed)


class _Reading(RawIOBase):
    def __init__(self, body: SealedBody) -> None:
        self._body, self._at = body, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        room = min(len(buffer), CHUNK - self._at % CHUNK)
        octets = self._body.read(self._at, room)
        buffer[: len(octets)] = octets
        self._at += len(octets)
        return len(octets)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._body.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at
