"""Incoming: take a message's S/MIME apart, layer by layer, and return what was found (RFC 8551 3.7, 3.8).

    clear-signed   hash the first part as it stands, check the signature next to it
    opaque-signed  hash and unwrap
    encrypted      find our key, decrypt into a private file, unwrap when integrity is known
    compressed     inflate within limits

Layers follow each other to a depth of five (triple wrap is three). What can't be opened or trusted is a
verdict, and the message is delivered as far as it could be read: S/MIME loses no mail. Only the root is
ever decrypted or counts as signed: a protected part among others is left alone, and the verdict names it (EFAIL and partly
signed trees, docs/reference/crypto.md 9.1, 9.9). Only `KeyUnavailable` comes out as an error, because then the peer should
try again.

Everything here blocks; `open` runs it in the pool.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mssgw.core.address import Address
from mssgw.core.body import Body, BodyWriter
from mssgw.core.errors import NotTrusted
from mssgw.core.message import Field, Headers
from mssgw.pki import der
from mssgw.pki.judgement import Evidence, Purpose, Validate
from mssgw.protocol import mime
from mssgw.protocol.mime import Part, TooComplex
from mssgw.smime import displayed
from mssgw.smime import headers as header_fields
from mssgw.smime.cms import compressed, decrypting, verifying
from mssgw.smime.cms.decrypting import MODERN, Decrypted, Reading
from mssgw.smime.cms.verifying import Hashing, SignedContent, SignerCheck
from mssgw.smime.directories.binding import Directory, no_directory
from mssgw.smime.entity import Kind, armoured, is_signature, is_structural, kind_of
from mssgw.smime.errors import Reason, SmimeError, Undecryptable
from mssgw.smime.judging import Claim, Judge, binding_of, claim_of, status_of
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import Identity
from mssgw.smime.pool import run
from mssgw.smime.verdict import EncryptionStatus, SignerVerdict, Verdict
from mssgw.smime.wire import armour, oids
from mssgw.smime.wire.ber import BerError, Stream
from mssgw.smime.wire.rope import STEP, Range, Rope

MAX_LAYERS = 5
MAX_SIGNATURE = 1024 * 1024  # octets of a detached signature
_TST_INFO = der.oid("1.2.840.113549.1.9.16.1.4")


@dataclass(frozen=True, slots=True)
class Opened:
    """`readable` is what goes into the mailbox; it is the original itself when nothing had to be unwrapped."""

    readable: Body
    verdict: Verdict
    unwrapped: bool
    capabilities: bytes | None = None  # of the signer, when the verdict is valid: what to remember for answers
    certificates: tuple[bytes, ...] = ()  # of the message, when valid: candidates for encryption, signer's first


async def open(
    body: Body,
    readers: Sequence[Identity],
    validate: Validate,
    now: datetime,
    *,
    directory: Directory = no_directory,
    reading: Reading = MODERN,
    known: Sequence[Certificate] = (),
    limits: mime.MimeLimits = mime.DEFAULT_LIMITS,
    most: int = 1 << 30,
) -> Opened:
    """Open a message received at `now`. `readers` are the identities whose keys may decrypt it, recipients' first.

    `known` are certificates that may sign without being in the message. `most` bounds the plaintext, octets.
    Raises KeyUnavailable (451) when our own key does not answer; nothing else for bad content.
    """
    slow = next((one.key.executor for one in readers if one.key.executor is not None), None)
    return await run(slow, open_now, body, readers, validate, now, directory, reading, known, limits, most)


def open_now(
    body: Body,
    readers: Sequence[Identity],
    validate: Validate,
    now: datetime,
    directory: Directory = no_directory,
    reading: Reading = MODERN,
    known: Sequence[Certificate] = (),
    limits: mime.MimeLimits = mime.DEFAULT_LIMITS,
    most: int = 1 << 30,
    author: Address | None = None,
) -> Opened:
    """`open`, blocking. `author`: the expected author of a message without From and Sender (a saved CMS structure)."""
    return _Opening(body, readers, Judge(validate, now, directory), reading, known, limits, most, author).run()


def decrypt_now(body: Body, readers: Sequence[Identity], reading: Reading = MODERN) -> Opened:
    """Only take the encryption off: signatures inside stay as they are and are not judged."""
    return _Opening(
        body,
        readers,
        Judge(_nobody, datetime.now(UTC), no_directory),
        reading,
        (),
        mime.DEFAULT_LIMITS,
        1 << 30,
        strict=False,
        only_decrypt=True,
    ).run()


def _nobody(_certificate: bytes, _purpose: Purpose, _at: datetime) -> Evidence:
    raise NotTrusted


@dataclass(slots=True)
class _Layer:
    """One signature found on the way in."""

    content: SignedContent
    checks: tuple[SignerCheck, ...]


class _Stop(Exception):
    pass


@dataclass(slots=True)
class _Opening:
    body: Body
    readers: Sequence[Identity]
    judge: Judge
    reading: Reading
    known: Sequence[Certificate]
    limits: mime.MimeLimits
    most: int
    author: Address | None = None  # expected of a message that names nobody
    strict: bool = True  # plaintext must be a MIME entity
    only_decrypt: bool = False
    layers: list[str] = field(default_factory=list)
    signed: dict[int, _Layer] = field(default_factory=dict)  # by layer number
    ciphers: list[Decrypted] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)  # per cipher: whether a signature stands inside
    reasons: list[Reason] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    encryption: EncryptionStatus = EncryptionStatus.NONE
    payload: tuple[Body, Part] | None = None  # the innermost entity
    roots: list[tuple[Body, Part]] = field(default_factory=list)  # what was taken apart, outermost first
    broken: bool = False  # a signature layer could not be read at all

    def run(self) -> Opened:
        try:
            root = mime.parse(self.body, self.limits)
        except TooComplex:
            self._note(Reason.LIMIT)
            return Opened(self.body, self._verdict([], Claim(None), ()), False)
        self.roots.append((self.body, root))
        headers = Headers.parse(self.body.read(0, root.body_start))
        body, part = self._peel(root)
        inside, changed, hidden = self._protected_headers(headers)
        claim = claim_of(self._seen(headers), inside.fields if inside else None)
        if claim.nobody and self.author:
            claim = Claim(self.author)
        found = () if self.only_decrypt else tuple(self.signed.items())
        signers = [self.judge.signer(check, number, claim) for number, layer in found for check in layer.checks]
        doubtful = bool(found) and self._doubtful(inside.fields if inside else self._seen(headers))
        if changed:
            self._note(Reason.HEADERS)
        verdict = self._verdict(signers, claim, changed)
        if inside and changed:
            verdict = replace(verdict, signed_fields=header_fields.values(inside, changed))
        if inside and (names := hidden + (changed if verdict.valid else ())):
            headers = header_fields.shown(inside, headers, names)
        elif doubtful and self.payload:
            headers, (body, part) = _once(headers), self.payload
        elif body is self.body:
            return Opened(self.body, verdict, False, *self._learn(verdict))
        return Opened(self._readable(headers, body, part), verdict, True, *self._learn(verdict))

    def _doubtful(self, fields: Headers) -> bool:
        """Whether programs would show other content than what was judged: then no signature covers what people see."""
        for body, root in self.roots:
            if where := mime.ambiguity(body, root):
                self._note(Reason.AMBIGUOUS, where)
        if twice := header_fields.twice(fields):
            self._note(Reason.AMBIGUOUS, f"{twice} twice")
        if self.payload and (name := header_fields.contradicted(self.payload[1], self.payload[0], fields)):
            self._note(Reason.AMBIGUOUS, f"another {name} in a part that copies the header")
        return Reason.AMBIGUOUS in self.reasons

    @property
    def _vouching(self) -> int:
        """The first layer whose signers know the plaintext: one inside the innermost encryption."""
        return max((number + 1 for number, layer in enumerate(self.layers) if layer == "encrypted"), default=0)

    def _seen(self, outside: Headers) -> Headers:
        """The fields that people will see: when there are none outside, a saved structure, those of the entity inside (`_readable`)."""
        if self.payload is None or outside.without(is_structural).fields:
            return outside
        body, part = self.payload
        return Headers.parse(body.read(part.header_start, part.body_start - part.header_start))

    def _protected_headers(self, outside: Headers) -> tuple[header_fields.Inside | None, tuple[str, ...], tuple[str, ...]]:
        if self.payload is None:
            return None, (), ()
        body, part = self.payload
        section = body.read(part.header_start, part.body_start - part.header_start)
        inside = header_fields.read(part, section) or (header_fields.undeclared(section) if self.signed else None)
        return (inside, *header_fields.differences(inside, outside)) if inside else (None, (), ())

    # --- layers

    def _peel(self, root: Part) -> tuple[Body, Part]:
        """Open layer after layer. Returns the body that holds what is readable, and which part of it that is."""
        best_body, best = self.body, root
        body, part = best_body, best
        while True:
            kind = kind_of(part)
            if self.layers:
                self.payload = body, part
            if kind is Kind.PLAIN:
                if not self.signed and any(kind_of(one) is not Kind.PLAIN for one in part.walk()):
                    self._note(Reason.PARTIAL)
                elif self.signed and any(kind_of(one) is Kind.CMS for one in part.walk()):
                    self._note(Reason.OUTSIDE)  # some programs decrypt it where it stands; its signer may not know what is inside
                return best_body, best
            if len(self.layers) >= MAX_LAYERS:
                self._note(Reason.LIMIT, "more layers than we open")
                return best_body, best
            try:
                if self.only_decrypt and self.layers and kind is Kind.CLEAR_SIGNED:
                    self.covered = [True] * len(self.covered)
                    return best_body, best
                if kind is Kind.CLEAR_SIGNED:
                    part = self._clear_signed(body, part)
                    continue
                part = self._without_footer(body, part)
                body = self._unwrap(body, part)
                part = mime.parse(body, self.limits)
                self.roots.append((body, part))
                if self.layers[-1] == "encrypted" and not self.ciphers[-1].authenticated and self.strict and not _reads(body, part):
                    raise Undecryptable  # what a wrong key gives has the same answer as a wrong tag (docs/reference/crypto.md 9.13)
            except _Stop:
                return best_body, best
            except (SmimeError, der.DerError, TooComplex) as error:
                self._failed(error)
                return best_body, best
            best_body, best = body, part

    def _note(self, reason: Reason, detail: str = "") -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)
        if detail:
            self.details.append(detail)

    def _failed(self, error: Exception) -> None:
        reason = _reason(error)
        self._note(reason, str(error.detail) if isinstance(error, SmimeError) else str(error))
        if self.layers and self.layers[-1] == "encrypted":
            self.encryption = EncryptionStatus.NO_KEY if reason is Reason.NO_KEY else EncryptionStatus.FAILED
            if len(self.ciphers) == self.layers.count("encrypted"):  # decryption with a wrong key seemed to work
                self.ciphers.pop()
                self.covered.pop()
        else:
            self.broken = True

    def _clear_signed(self, body: Body, part: Part) -> Part:
        """multipart/signed: exactly two parts, the first hashed as it stands (RFC 1847 2.1)."""
        self.layers.append("signed")
        if len(part.children) != 2 or not is_signature(part.children[1]):
            raise SmimeError(Reason.MALFORMED, "multipart/signed without exactly one content and one signature")
        first, second = part.children
        if second.size > MAX_SIGNATURE * 2:
            raise SmimeError(Reason.LIMIT, "signature over 1 MB")
        content = verifying.parse_detached(b"".join(_decoded(body, second)))
        if content.content_type != oids.DATA:
            raise SmimeError(Reason.NO_MESSAGE, _type_name(content.content_type))
        signed = Rope(Range(body, first.header_start, first.body_end))
        for step in (None, _crlf):
            hashing = Hashing(content.digest_identifiers)
            signed.pour(hashing.update if step is None else step(hashing.update))
            hashing.fill(content)
            checks = verifying.signatures(content, self.known, self.reading.experimental, self.judge.now)
            # A transport that keeps lines with LF alone gets one second look (docs/reference/crypto.md 9.11).
            if not any(one.problem is Reason.DIGEST for one in checks) or any(b"\r" in chunk for chunk in signed.chunks()):
                break
        self._signature(content, checks)
        return first

    def _signature(self, content: SignedContent, checks: tuple[SignerCheck, ...]) -> None:
        self.signed[len(self.layers) - 1] = _Layer(content, checks)
        self.covered = [True] * len(self.covered)

    def _without_footer(self, body: Body, part: Part) -> Part:
        """The part without what a list wrote after its base64: it is outside, and no reader of S/MIME shows it."""
        found = armoured(body, part)
        if not found.footer:
            return part
        self._note(Reason.FOOTER)
        cut = replace(part, body_end=found.end)
        self.roots = [(of, cut if one is part else one) for of, one in self.roots]
        return cut

    def _unwrap(self, body: Body, part: Part) -> Body:
        """application/pkcs7-mime: whatever is inside, by its content type and not by its label."""

        def source() -> Stream:
            return Stream(chunk for chunk in _decoded(body, part) if chunk)

        kind = _content_type(source())
        writer = BodyWriter()
        try:
            if kind == oids.SIGNED_DATA:
                if self.only_decrypt:
                    self.covered = [True] * len(self.covered)
                    raise _Stop
                self.layers.append("opaque-signed")
                content = verifying.read(source(), writer.write)
                if not content.inside and content.unsigned:  # RFC 8551 3.2.2, certs-only: it claims no signature
                    self.layers[-1] = "certificates"
                self._signature(content, verifying.signatures(content, self.known, self.reading.experimental, self.judge.now))
                if content.content_type == oids.RECEIPT:  # RFC 2634 2: no message, `receipts` holds it against its own
                    self.layers[-1] = "receipt"
                    raise _Stop
                if content.content_type != oids.DATA:
                    self._note(Reason.NO_MESSAGE, _type_name(content.content_type))
                    raise _Stop
            elif kind in (oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA):
                self.layers.append("encrypted")
                writer = self._decrypt(source, writer)
            elif kind == oids.COMPRESSED_DATA and "compressed" not in self.layers:
                self.layers.append("compressed")
                compressed.inflate(source(), writer.write, self.most)
            else:
                self.layers.append("unknown")
                raise SmimeError(Reason.UNSUPPORTED, "content type")
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _decrypt(self, source: Callable[[], Stream], writer: BodyWriter) -> BodyWriter:
        writers = [writer]

        def fresh() -> Callable[[bytes], object]:
            if writers[-1].size:
                writers[-1].abort()
                writers.append(BodyWriter())
            return writers[-1].write

        try:
            found = decrypting.decrypt(source, self.readers, fresh, self.reading)
        except BaseException:
            writers[-1].abort()
            raise
        self.ciphers.append(found)
        self.covered.append(False)
        self.encryption = EncryptionStatus.DECRYPTED
        return writers[-1]

    # --- judgement

    def _verdict(self, signers: list[SignerVerdict], claim: Claim, changed: tuple[str, ...]) -> Verdict:
        vouching = [one for one in signers if one.layer >= self._vouching]
        if signers and not vouching:
            self._note(Reason.OUTSIDE)
        for remark in self.judge.remarks(signers, claim):
            self._note(remark)
        for cipher, covered in zip(self.ciphers, self.covered, strict=True):
            if not cipher.authenticated and not covered:
                self._note(Reason.UNAUTHENTICATED)
        for remark in displayed.remarks(*self.payload) if vouching and self.payload else ():
            self._note(remark)
        return Verdict(
            signature=status_of(vouching or signers, broken=self.broken and (bool(signers) or any("signed" in one for one in self.layers))),
            encryption=self.encryption,
            binding=binding_of(signers),
            signers=tuple(signers),
            ciphers=tuple(f"{one.transport}+{one.cipher.name}" for one in self.ciphers),
            layers=tuple(self.layers),
            reasons=tuple(self.reasons),
            from_address=str(claim.author) if claim.author and not claim.problem else "",
            header_differences=changed,
            names_author=not claim.nobody,
            details=tuple(self.details),
        )

    # --- what the reader gets

    def _readable(self, headers: Headers, body: Body, part: Part) -> Body:
        """The message's own fields around the entity that was inside."""
        own = headers.without(is_structural)
        inner = Headers.parse(body.read(part.header_start, part.body_start - part.header_start))
        structural = Headers(tuple(field for field in inner if is_structural(field) and field.name != "mime-version"))
        start = part.body_start
        if self.ciphers and not _has_header(part):
            structural, start = Headers(()), part.header_start  # a bare text: all of it is content
        elif not own.fields:
            own = inner.without(is_structural)  # a saved smime.p7m: there is nothing outside that these could contradict
        writer = BodyWriter()
        writer.write(bytes(own) + b"MIME-Version: 1.0\r\n" + bytes(structural) + b"\r\n")
        for chunk in mime.raw_chunks(body, start, part.body_end):
            writer.write(chunk)
        return writer.finish()

    def _learn(self, verdict: Verdict) -> tuple[bytes | None, tuple[bytes, ...]]:
        """Capabilities and certificates worth remembering: only of the author's own, valid (docs/reference/crypto.md 9.29)."""
        if not verdict.valid or verdict.sealed:
            return None, ()
        layer = self.signed[max(self.signed)]
        signer = layer.checks[0].certificate
        others = [one for one in layer.content.certificates if signer is None or one != signer.der]
        return layer.checks[0].capabilities, ((signer.der,) if signer else ()) + tuple(others)


def _once(headers: Headers) -> Headers:
    """The fields that were judged: of each that may stand once the first one, without lines that are no field."""
    seen: set[str] = set()
    kept: list[Field] = []
    for one in headers:
        if one.name and one.name not in seen:
            kept.append(one)
        if one.name in mime.ONCE_IN_MESSAGE:
            seen.add(one.name)
    return Headers(tuple(kept))


def _type_name(kind: bytes) -> str:
    return "TSTInfo, a time stamp (RFC 3161)" if kind == _TST_INFO else f"content type {der.dotted(kind[2:])}"


def _crlf(update: Callable[[bytes], None]) -> Callable[[bytes], None]:
    return lambda chunk: update(chunk.replace(b"\n", b"\r\n"))


def _decoded(body: Body, part: Part) -> Iterator[bytes]:
    found = armoured(body, part)
    if found.base64:
        return armour.decode(mime.raw_chunks(body, found.start, found.end, STEP))
    return mime.decoded_chunks(body, part)


def _reason(error: Exception) -> Reason:
    if isinstance(error, SmimeError):
        return error.reason
    if isinstance(error, TooComplex) or (isinstance(error, BerError) and error.limit):
        return Reason.LIMIT
    return Reason.MALFORMED


def _content_type(stream: Stream) -> bytes:
    stream.enter(der.SEQUENCE)
    return stream.element(64)


def _has_header(part: Part) -> bool:
    """Whether the plaintext begins with a header at all; people encrypt bare texts on the command line."""
    return part.typed or any(part.fields.get(name) is not None for name in (b"content-transfer-encoding", b"mime-version"))


def _reads(body: Body, part: Part) -> bool:
    """Whether a CBC plaintext is an entity or at least a text; what a wrong key gives is neither."""
    if _has_header(part):
        return True
    try:
        start = getincrementaldecoder("utf-8")().decode(body.read(0, 512), body.size <= 512)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\r\n\t" for char in start)
