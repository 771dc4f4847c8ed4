"""MailData: the content of a message that may be sent on. RFC 5321 2.3.8, 4.1.1.4, 4.5.2, 4.5.3.1.6; RFC 3030.

Its lines end with CRLF and nothing else, the last one too; none is too long; it holds no NUL; it is not too large. It can't
be made without that check, so that nobody has to check again: the flows that send or deliver take nothing else.
Octets on their way are checked as they come (`MailDataWriter`), so that they are read once; an existing body by
`MailData.check`.

A writer remembers the first mistake in `failure`, keeps nothing more, and goes on counting: the dialogue stays in step
until the content ends. Only CRLF.CRLF ends DATA (`DataReader`), so nothing that another server takes for the end can
smuggle a command past us.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from mssgw.core.body import Body, BodyWriter
from mssgw.core.config.node import Limits
from mssgw.core.errors import Refused
from mssgw.protocol.lines import count_crlf

_CHECKED: Final = object()
_DOT = re.compile(rb"\n\.")


class MailData:
    """A body within `limits.message_size` and `limits.line_octets`. RFC 5321 4.1.1.4."""

    __slots__ = ("body",)

    def __init__(self, body: Body, checked: object) -> None:
        if checked is not _CHECKED:
            raise TypeError("MailData is made by MailDataWriter, or by MailData.check")
        self.body: Final = body

    @classmethod
    def check(cls, body: Body, limits: Limits) -> MailData:
        """One pass over octets that came from elsewhere than SMTP. Raises Refused: 550 5.6.0, 552 5.3.4."""
        form = _Form(_nowhere, limits.message_size, limits.line_octets)
        for chunk in body.chunks():
            form.put(chunk)
        form.end()
        if form.failure:
            raise form.failure
        if form.unfinished:
            raise Refused("Message does not end with CRLF; end its last line", code=550, enhanced="5.6.0")
        return cls(body, _CHECKED)


def _nowhere(octets: bytes) -> None:
    pass


class _Form:
    """Checks octets and passes on those that are right: line ends, NUL, longest line, size. Chunks may be cut anywhere."""

    __slots__ = ("_cr", "_line", "_write", "failure", "max_line", "max_size", "size")

    def __init__(self, write: Callable[[bytes], object], max_size: int, max_line: int) -> None:
        self._write, self.max_size, self.max_line = write, max_size, max_line
        self._cr, self._line = False, 0
        self.size = 0  # octets received, kept or not
        self.failure: Refused | None = None

    def put(self, octets: bytes) -> None:
        self.size += len(octets)
        if self.failure:
            return
        if self._cr:
            octets = b"\r" + octets
        self._cr = octets.endswith(b"\r")
        if self._cr:  # may be half of a CRLF
            octets = octets[:-1]
        try:
            self._judge(octets)
        except Refused as failure:
            self.failure = failure
        else:
            self._write(octets)

    def _judge(self, octets: bytes) -> None:
        if self.size > self.max_size:
            raise Refused(f"Message is larger than {self.max_size} octets", code=552, enhanced="5.3.4")  # RFC 1870 6.3
        ends = count_crlf(octets)
        if ends is None:
            raise _bare_line_end()
        if b"\0" in octets:
            raise Refused("Message holds a NUL octet; encode binary content in base64", code=550, enhanced="5.6.0")
        if self._line + len(octets) > self.max_line:
            self._measure_lines(octets)
        self._line = len(octets) - octets.rfind(b"\n") - 1 if ends else self._line + len(octets)

    def _measure_lines(self, octets: bytes) -> None:
        """One search for each stretch of the longest allowed line, instead of one for each line."""
        start, room = 0, self.max_line - self._line
        while len(octets) - start > room:
            end = octets.rfind(b"\n", start, start + room)
            if end < 0:
                raise Refused(f"Message has a line longer than {self.max_line} octets", code=550, enhanced="5.6.0")
            start, room = end + 1, self.max_line

    def end(self) -> None:
        """Note that nothing more comes."""
        if self._cr and not self.failure:
            self.failure = _bare_line_end()

    @property
    def unfinished(self) -> bool:
        """Whether the last line has no end."""
        return self._line > 0


def _bare_line_end() -> Refused:
    return Refused("Message has a CR or LF that is not CRLF; lines must end with CRLF", code=550, enhanced="5.6.0")


class MailDataWriter(_Form):
    """Takes the octets after DATA, or those of one or more BDAT commands (RFC 3030). Ends with `finish` or `abort`.

    BINARYMIME is not offered, so the content is made of CRLF lines whichever way it came, and can be sent on with DATA.
    """

    __slots__ = ("_into",)

    def __init__(self, into: BodyWriter, limits: Limits) -> None:
        super().__init__(into.write, limits.message_size, limits.line_octets)
        self._into = into

    def finish(self) -> MailData:
        """A content that stops inside a line (BDAT can) is ended with CRLF. Raises the failure."""
        self.end()
        if self.failure:
            self.abort()
            raise self.failure
        if self.unfinished:
            self._into.write(b"\r\n")
        return MailData(self._into.finish(), _CHECKED)

    def abort(self) -> None:
        self._into.abort()


class DataReader:
    """The content after DATA: feed chunks until the octets behind the end mark come back.

    `_tail` always starts with the CRLF before an unfinished line (at first the one that ended the
    command), so each piece that is handed on holds its line starts whole.
    """

    __slots__ = ("_content", "_first", "_tail")

    def __init__(self, content: MailDataWriter) -> None:
        self._content = content
        self._tail, self._first = b"\r\n", True

    def feed(self, octets: bytes) -> bytes | None:
        """None: more is needed. Otherwise the content is complete and these octets follow it."""
        buffer = self._tail + octets
        dot = _DOT.search(buffer)  # one search for both: most chunks hold neither a dot to undo nor the end mark
        end = buffer.find(b"\r\n.\r\n", max(0, dot.start() - 1)) if dot else -1
        if end >= 0:
            self._hand_on(buffer[: end + 2], dotted=True)
            return buffer[end + 5 :]
        if self._content.failure:
            cut = max(0, len(buffer) - 4)  # enough to see an end mark that is not complete yet
        else:
            cut = buffer.rfind(b"\r\n")
            if len(buffer) - cut > self._content.max_line + 8:  # too long, whatever follows: hand it on to be checked
                cut = len(buffer) - 4
        if cut:
            self._hand_on(buffer[:cut], dotted=dot is not None)
            self._tail = buffer[cut:]
        else:
            self._tail = buffer
        return None

    def _hand_on(self, piece: bytes, *, dotted: bool) -> None:
        if dotted:
            piece = piece.replace(b"\r\n.", b"\r\n")  # RFC 5321 4.5.2
        if self._first:
            piece, self._first = piece[2:], False
        self._content.put(piece)
