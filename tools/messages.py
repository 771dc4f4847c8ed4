"""The catalogues of sentences: `make messages` brings them in line with the code and compiles them.

    python -m tools.messages          add the keys the code uses to the .po files, sort them, write the .mo files
    python -m tools.messages check    print what is wrong and end with status 1; what `tests/rails/test_texts.py` asks

Keys are found in the code as literals: the first argument of what stands in `CALLS`, and any other
literal that equals a key of the catalogue. A key made at run time, f"trust.fault.{fault}", stands for every key it can be.
"""

from __future__ import annotations

import ast
import io
import re
import string
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as Entry
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
PACKAGES = ("mssgw", "dmp_connector")
LANGUAGES = ("fr", "en")
PLURALS = {"fr": "nplurals=2; plural=(n > 1);", "en": "nplurals=2; plural=(n != 1);"}
CALLS = {"message", "say", "text", "sentence", "Mistake", "AddressError", "FilterError", "NotThere", "NotPermitted"}
UNDER = re.compile(r"(?<=\S) (?=[:;?!»](\s|$))|(?<=«) ", re.MULTILINE)
"""Where French typography wants a no-break space and an ordinary one stands."""


ENGLISH = re.compile(r"(?<![{\w])(the|is|are|of|not|needs?|must|with|which|this|and|cannot|only|there)(?![}\w])")
"""Words that no French sentence holds: somebody copied the English."""


def po_path(package: str, language: str) -> Path:
    return ROOT / package / "locale" / language / "LC_MESSAGES" / f"{package}.po"


def read(package: str, language: str) -> Catalog:
    path = po_path(package, language)
    if not path.exists():
        return empty(package, language)
    with path.open("rb") as stream:
        return read_po(stream, locale=language, domain=package, abort_invalid=True)


def empty(package: str, language: str) -> Catalog:
    """A catalogue whose header says the language and its plural rule: nothing of when and by whom."""
    catalogue = Catalog(locale=language, domain=package, header_comment="")
    catalogue.mime_headers = list(_header(language).items())
    return catalogue


def _header(language: str) -> dict[str, str]:
    return {"Language": language, "Content-Type": "text/plain; charset=utf-8", "Plural-Forms": PLURALS[language]}


def written(catalogue: Catalog, language: str) -> bytes:
    """The .po, sorted by key."""
    out = io.BytesIO()
    write_po(out, _copy(catalogue, language), width=0, omit_header=True, sort_output=True, no_location=True)
    head = "".join(f'"{name}: {value}\\n"\n' for name, value in _header(language).items())
    return f'msgid ""\nmsgstr ""\n{head}\n'.encode() + out.getvalue().strip(b"\n") + b"\n"


def compiled(package: str, language: str) -> bytes:
    """The octets of the .mo: a plain gettext file, the same for the same .po whatever the day and the version of Babel."""
    entries: dict[bytes, bytes] = {b"": "".join(f"{name}: {value}\n" for name, value in _header(language).items()).encode()}
    for entry in read(package, language):
        if entry.id and all(strings(entry)):
            ids = (entry.id,) if isinstance(entry.id, str) else entry.id
            entries["\0".join(ids).encode()] = "\0".join(strings(entry)).encode()
    ordered = sorted(entries)  # GNU gettext manual, "The Format of GNU MO Files"
    at, table, octets = 28 + 16 * len(ordered), b"", b""
    for text in (*ordered, *(entries[key] for key in ordered)):
        table += struct.pack("<II", len(text), at + len(octets))
        octets += text + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, len(ordered), 28, 28 + 8 * len(ordered), 0, 28 + 16 * len(ordered)) + table + octets


def _copy(catalogue: Catalog, language: str) -> Catalog:
    fresh = empty(str(catalogue.domain), language)
    for entry in catalogue:
        if entry.id:
            fresh.add(entry.id, entry.string, user_comments=entry.user_comments)
    return fresh


# --- what the code uses ---------------------------------------------------------------------------------------------------


@dataclass
class Use:
    """What one package's code says of its keys."""

    called: dict[str, list[tuple[str, frozenset[str] | None]]] = field(default_factory=dict)
    """key -> (place, names of the values; None where they cannot be seen)"""
    patterns: dict[str, str] = field(default_factory=dict)
    """regular expression of the keys an f-string can be -> place"""
    literals: set[str] = field(default_factory=set)


def use(package: str) -> Use:
    found = Use()
    for path in sorted((ROOT / package).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)):
                    found.literals.add(text)
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[first, *_]) if name in CALLS:
                    _call(found, first, node, f"{place}:{node.lineno}")
                case ast.JoinedStr() if (pattern := _pattern(node)) is not None:
                    found.patterns.setdefault(pattern, f"{place}:{node.lineno}")
    return found


def _call(found: Use, first: ast.expr, node: ast.Call, place: str) -> None:
    names = None if any(k.arg is None for k in node.keywords) else frozenset(k.arg for k in node.keywords if k.arg)
    for key in _keys(first):
        found.called.setdefault(key, []).append((place, names))


def _keys(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(key)) if looks_like_a_key(key):
            yield key
        case ast.IfExp(body=body, orelse=orelse):
            yield from _keys(body)
            yield from _keys(orelse)


def looks_like_a_key(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9]+(\.[A-Za-z0-9_ -]+)+", text) is not None


def _pattern(node: ast.JoinedStr) -> str | None:
    """f"a.b.{x}" as a regular expression; None when it does not begin as a key does."""
    first = node.values[0]
    if not (isinstance(first, ast.Constant) and re.fullmatch(r"[a-z0-9]+\.([a-z0-9_-]+\.?)*-?", str(first.value))):
        return None
    return "".join(re.escape(str(v.value)) if isinstance(v, ast.Constant) else r"[A-Za-z0-9_. -]+" for v in node.values)


# --- what is wrong --------------------------------------------------------------------------------------------------------


def placeholders(text: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def key_of(entry: Entry) -> str:
    return entry.id if isinstance(entry.id, str) else entry.id[0]


def strings(entry: Entry) -> tuple[str, ...]:
    return (entry.string,) if isinstance(entry.string, str) else tuple(entry.string or ())


def problems(package: str) -> list[str]:
    """Every way in which the catalogues and the code of a package disagree."""
    by_language = {language: {key_of(e): e for e in read(package, language) if e.id} for language in LANGUAGES}
    seen = use(package)
    french, english = by_language["fr"], by_language["en"]
    keys = french.keys() | english.keys()
    wrong = [f"{key}: in {'French' if key in french else 'English'} only" for key in sorted(french.keys() ^ english.keys())]
    for language, entries in by_language.items():
        wrong += [f"{key}: no {language} sentence" for key, e in sorted(entries.items()) if not all(strings(e))]
    for key in sorted(french.keys() & english.keys()):
        names = {frozenset[str]().union(*map(placeholders, strings(e))) for e in (french[key], english[key])}
        if len(names) > 1:
            wrong.append(f"{key}: the values named in French and in English differ")
        wanted = frozenset[str]().union(*names)
        plural = not isinstance(english[key].id, str)
        for place, given in seen.called.get(key, []):
            if given is not None and given != (wanted | {"count"} if plural else wanted):
                wrong.append(f"{key}: {place} passes {sorted(given)}, the sentence names {sorted(wanted)}")
    for key, e in sorted(french.items()):
        wrong += [f"{key}: an ordinary space where French has a no-break one: {text!r}" for text in strings(e) if UNDER.search(text)]
        wrong += [f"{key}: English in the French sentence: {text!r}" for text in strings(e) if ENGLISH.search(text)]
    wrong += [f"{key}: used at {where[0][0]}, in no catalogue" for key, where in sorted(seen.called.items()) if key not in keys]
    patterns = {pattern: re.compile(pattern) for pattern in seen.patterns}
    others = set().union(*(use(other).literals for other in PACKAGES if other != package)) if keys else set()
    for key in sorted(keys):
        if key not in seen.literals and key not in others and not any(p.fullmatch(key) for p in patterns.values()):
            wrong.append(f"{key}: used nowhere")
    for language in LANGUAGES:
        path = po_path(package, language)
        if path.read_bytes() != written(read(package, language), language):
            wrong.append(f"{path.relative_to(ROOT)}: not in the form that `make messages` writes")
        if not path.with_suffix(".mo").exists() or path.with_suffix(".mo").read_bytes() != compiled(package, language):
            wrong.append(f"{path.with_suffix('.mo').relative_to(ROOT)}: is not what its .po compiles to; run `make messages`")
    return wrong


def update(package: str) -> None:
    """New keys in both .po files, empty; .po sorted; .mo compiled."""
    keys = use(package).called.keys()
    for language in LANGUAGES:
        catalogue = read(package, language)
        there = {key_of(e) for e in catalogue if e.id}
        for key in sorted(keys - there):
            catalogue.add(key, "")
        if language == "fr":
            for e in catalogue:
                if e.id:
                    fixed = tuple(UNDER.sub("\N{NO-BREAK SPACE}", text) for text in strings(e))
                    e.string = fixed[0] if isinstance(e.string, str) else fixed
        path = po_path(package, language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(catalogue, language))
        path.with_suffix(".mo").write_bytes(compiled(package, language))


def main(arguments: list[str]) -> int:
    if arguments == ["check"]:
        wrong = [one for package in PACKAGES for one in problems(package)]
        sys.stdout.write("".join(f"{one}\n" for one in wrong))
        return 1 if wrong else 0
    for package in PACKAGES:
        update(package)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
