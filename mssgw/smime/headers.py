"""Header protection: the message's own fields, repeated under the signature (RFC 9788).

Written as `hp="clear"` or `hp="cipher"` with every field in clear outside as well: MSSanté software sorts and displays
mail by Subject and X-MSS-*. Read in those forms, in the older `protected-headers="v1"` and as a whole message
inside (`message/rfc822; forwarded=no`, RFC 8551 3.1).

What is inside replaces what is outside only when a bound signature covers it, or when the sender stated
(HP-Outer) that it was hidden on purpose. From is never replaced: the verdict is about the From that is shown
(docs/reference/crypto.md 9.10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mssgw.core.body import Body
from mssgw.core.message import Field, Headers
from mssgw.protocol import mime
from mssgw.protocol.mime import Part

_FROM_SENDER = frozenset(
    (
        "from",
        "to",
        "cc",
        "sender",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "keywords",
        "comments",
        "disposition-notification-to",
        "importance",
        "priority",
        "user-agent",
        "x-priority",
        "auto-submitted",
    )
)
_SHOWN = ("from", "sender", "to", "cc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references", "keywords", "comments")
_USER_FACING = frozenset(("from", "sender", "to", "cc", "reply-to", "subject", "date"))  # RFC 9788 1.1.1
_KEPT = frozenset(("from", "sender"))
_HARMLESS = frozenset(("to", "cc", "date"))  # fields that stand only outside are remarked and stay: no reply goes to them
_CONTRADICTED = ("from", "sender", "reply-to", "subject")
_MOST = 64 * 1024  # octets of a part with copies of fields
_OBSCURED = frozenset(("...", "[...]", "encrypted message"))


def protected(headers: Headers, structural: Headers, hidden: bool) -> Headers:
    """The entity's fields with a copy of all of the message's own, X-MSS-* too.

    Nothing is made confidential: when the entity will be encrypted, HP-Outer repeats each field as it stands outside.
    """
    own = [field for field in headers if field.name in _FROM_SENDER or field.name.startswith("x-mss-")]
    kind = next((field for field in structural if field.name == "content-type"), None)
    value = kind.raw.partition(b":")[2].strip(b" \t\r\n;") if kind else b"text/plain; charset=us-ascii"
    marked = Field("content-type", b'Content-Type: %b;\r\n hp="%b"\r\n' % (value, b"cipher" if hidden else b"clear"))
    outer = [Field("hp-outer", b"HP-Outer: " + field.raw) for field in own] if hidden else []
    return Headers((*own, *outer, *structural.without(["content-type"]).fields, marked))


@dataclass(frozen=True, slots=True)
class Inside:
    """The fields found under the protection. `outer` is what the sender states to have written outside (HP-Outer)."""

    fields: Headers
    outer: dict[str, list[str]] | None  # None: not stated (signed only, or an old form)
    old: bool


def read(part: Part, section: bytes) -> Inside | None:
    """The protected fields of a payload, whose own header is `section`. None when it has none."""
    if part.message is not None and part.params.get("forwarded", "").lower() == "no":
        return Inside(Headers.parse(part.message.fields.raw), None, True)
    mode = part.params.get("hp", "").lower()
    old = part.params.get("protected-headers", "").lower() == "v1"
    if mode not in ("clear", "cipher") and not old:
        return None
    fields = Headers.parse(section)
    outer: dict[str, list[str]] | None = None
    if mode == "cipher":
        outer = {}
        for field in fields:
            if field.name == "hp-outer":
                name, _, value = field.value.partition(":")
                outer.setdefault(name.strip().lower(), []).append(_same(value))
    return Inside(fields, outer, old and not mode)


def undeclared(section: bytes) -> Inside | None:
    """Fields of a message in a signed entity that declares nothing, as of a whole message that was signed: some readers show them."""
    fields = Headers(tuple(one for one in Headers.parse(section) if one.name in _SHOWN))
    return Inside(fields, None, True) if fields.fields else None


def twice(fields: Headers) -> str:
    """A field that may stand once (RFC 5322 3.6) and stands twice; "" when there is none."""
    counted = Counter(one.name for one in fields)
    return next((name for name, count in counted.items() if count > 1 and name in mime.ONCE_IN_MESSAGE), "")


def contradicted(payload: Part, body: Body, fields: Headers) -> str:
    """A field that another part shows otherwise than `fields`, which the verdict is about; "" when there is none.

    The drafts before RFC 9788 put copies of the header into parts of their own (`text/rfc822-headers; protected-headers="v1"`), and
    readers of that time show what stands there. Parts of a message inside are about that message, and those of a report about its.
    """
    own = {name: _spoken(fields, name) for name in _CONTRADICTED}
    for found in _copies(payload, body):
        for name, value in own.items():
            shown = _spoken(found, name)
            on_purpose = name == "subject" and [one.lower() for one in value] in [[one] for one in _OBSCURED]
            if shown and shown != value and not on_purpose:
                return name
    return ""


def _copies(part: Part, body: Body) -> Iterator[Headers]:
    for child in part.children:
        section = body.read(child.header_start, child.body_start - child.header_start)
        if child.media == "text/rfc822-headers" and part.media != "multipart/report":
            yield Headers.parse(b"".join(mime.decoded_chunks(body, child, _MOST)))
        elif inside := read(child, section):
            yield inside.fields
        yield from _copies(child, body)


def _spoken(headers: Headers, name: str) -> list[str]:
    """The values as people read them: encoded words decoded, folds gone."""
    return [_same(mime.decode_words(mime.unfold(one.raw.partition(b":")[2]))) for one in headers if one.name == name]


def differences(inside: Inside, outside: Headers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names that were changed on the way, names the sender hid on purpose)."""
    changed: list[str] = []
    hidden: list[str] = []
    fields, others = _by_name(inside.fields), _by_name(outside)
    for name in _SHOWN:
        within, without = fields.get(name, []), others.get(name, [])
        if within == without or (not within and (inside.old or name not in _USER_FACING)):
            continue  # what only stands outside is remarked upon where people would see it
        if inside.outer is not None:
            on_purpose = bool(within) and inside.outer.get(name, []) == without
        else:
            on_purpose = inside.old and name == "subject" and [one.lower() for one in without] in [[one] for one in _OBSCURED]
        (hidden if on_purpose else changed).append(name)
    return tuple(changed), tuple(hidden)


def values(inside: Inside, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(name, what people read in it under the protection) of fields; "" when it is not there."""

    return tuple((name, ", ".join(_spoken(inside.fields, name))) for name in names)


def shown(inside: Inside, outside: Headers, names: tuple[str, ...]) -> Headers:
    """`outside` with the fields of those names as they stand inside; what is not inside goes, unless it is harmless.

    From and Sender stay.
    """
    there = {field.name for field in inside.fields}
    names = tuple(name for name in names if name not in _KEPT and (name in there or name not in _HARMLESS))
    if not names:
        return outside
    first = {name: next((at for at, field in enumerate(outside.fields) if field.name == name), None) for name in names}
    made: list[Field] = []
    for at, field in enumerate(outside.fields):
        if field.name not in names:
            made.append(field)
        elif first[field.name] == at:
            made += [one for one in inside.fields if one.name == field.name]
    made += [one for one in inside.fields if one.name in names and first[one.name] is None]
    return Headers(tuple(made))


def _by_name(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for field in headers:
        if field.name in _SHOWN:
            found.setdefault(field.name, []).append(_same(field.value))
    return found


def _same(value: str) -> str:
    """Values are the same when only their folding differs."""
    return " ".join(value.split())
