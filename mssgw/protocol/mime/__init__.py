"""MIME: a message as a tree of parts by offsets, and what is read out of it. No I/O but through Body.

    parse(body, limits) -> Part             the tree; bodies are never copied. Raises TooComplex
    decode(body, part) -> Body              content without transfer encoding, spooled when large
    decoded_chunks(body, part)              the same as a stream
    texts(body, part)                       decoded texts for search
    summarise(body, limits) -> Summary      ENVELOPE, BODYSTRUCTURE, BODY as IMAP wire octets, Message-ID, Date
    decode_words(value)                     RFC 2047 to text
    parse_addresses(value), mailboxes(...)  RFC 5322 address lists
    ambiguity(body, root) -> str            what readers would take apart differently

Reading never fails on content; only what is over the limits is refused.
"""

from mssgw.protocol.mime.addresses import Mailbox, mailboxes, parse_addresses, spelled_addresses
from mssgw.protocol.mime.ambiguity import ONCE_IN_MESSAGE, ambiguity
from mssgw.protocol.mime.dates import parse_date
from mssgw.protocol.mime.decode import decode, decode_base64, decode_quoted_printable, decoded_chunks, raw_chunks, text_of, texts
from mssgw.protocol.mime.fields import Fields, Structured, raw_fields, unfold
from mssgw.protocol.mime.part import DEFAULT_LIMITS, MimeLimits, Part, TooComplex, parse
from mssgw.protocol.mime.summary import Summary, nstring, string, summarise
from mssgw.protocol.mime.words import Charset, decode_words, is_known_charset

__all__ = [
    "DEFAULT_LIMITS",
    "ONCE_IN_MESSAGE",
    "Charset",
    "Fields",
    "Mailbox",
    "MimeLimits",
    "Part",
    "Structured",
    "Summary",
    "TooComplex",
    "ambiguity",
    "decode",
    "decode_base64",
    "decode_quoted_printable",
    "decode_words",
    "decoded_chunks",
    "is_known_charset",
    "mailboxes",
    "nstring",
    "parse",
    "parse_addresses",
    "parse_date",
    "raw_chunks",
    "raw_fields",
    "spelled_addresses",
    "string",
    "summarise",
    "text_of",
    "texts",
    "unfold",
]
