"""What an HTML text shows beyond its own octets: content that is loaded when it is read, and content that only some readers show.

A signature over HTML covers neither. Both questions are asked of the octets as a whole, not of a tree, because browsers agree
on no tree of broken HTML: letter case, character references, escapes and comments of CSS are taken away first. What merely
looks like an answer is one: a remark too many does less harm than one too few. Every pattern is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST = 4 << 20  # octets that are looked through

_REFERENCE = re.compile(
    rb"&(?:#0*(\d{1,7})|#x0*([0-9a-f]{1,6})|(colon|sol|bsol|lpar|rpar|tab|newline|period|commat|quot|apos|excl|equals|semi));?"
)
_NAMED = {
    b"colon": b":",
    b"sol": b"/",
    b"bsol": b"\\",
    b"lpar": b"(",
    b"rpar": b")",
    b"tab": b"\t",
    b"newline": b"\n",
    b"period": b".",
    b"commat": b"@",
    b"quot": b'"',
    b"apos": b"'",
    b"excl": b"!",
    b"equals": b"=",
    b"semi": b";",
}
_CSS_ESCAPE = re.compile(rb"\\(?:([0-9a-f]{1,6})(?:\r\n|[ \t\r\n\f])?|([^0-9a-f\r\n]))")
_CSS_COMMENT = re.compile(rb"/\*.*?\*/", re.DOTALL)
_BLANKS = bytes(range(33))

_LOADED = re.compile(rb"[\s\"'/](src|background|poster|data|dynsrc|lowsrc|codebase|classid|archive|xlink:href|action-xhtml)\s*=\s*[\"']?")
_CANDIDATES = re.compile(rb"[\s\"'/](?:image)?srcset\s*=\s*(\"[^\"]*|'[^']*|[^\s>]*)")
_LINKED = re.compile(rb"<(?:link|base|image|use|feimage|script)\b([^>]*)")
_HREF = re.compile(rb"[\s\"'/]href\s*=\s*[\"']?")
_URL = re.compile(rb"\burl\(\s*[\"']?")
_LOADS = re.compile(rb"@import\b|<i?frame\b|<frameset\b|<portal\b|<\?xml-stylesheet|http-equiv\s*=\s*[\"']?\s*refresh|image-set\(\s*[\"']")
_OUTSIDE = re.compile(rb"(?:(?!cid:|mid:|data:|clsid:|about:|x-apple-data)[a-z][a-z0-9+.-]*:|[/\\]{2})")

_STYLE_TAG = re.compile(rb"<style\b[^<>]*+>")  # Outlook on the web writes <style style="display:none">: it shows nothing anyway
_ZERO = rb"(?:0+(?:\.0*)?|\.0+)"
_HIDES = re.compile(
    rb"(?<![\w-])(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|mso-hide\s*:\s*all|color\s*:\s*transparent|opacity\s*:\s*"
    + _ZERO
    + rb"(?![\d.])|max-height\s*:\s*0+(?![\d.])|font(?:-size)?\s*:\s*(?:"
    + _ZERO
    + rb"(?![\d.])|0*[01](?:\.\d*)?p[xt])|content\s*:\s*(?:[\"'][^\"']|attr|counter)|unicode-bidi\s*:\s*[a-z-]*override"
    + rb"|clip(?:-path)?\s*:\s*[a-z]+\("
    + rb"|(?:text-indent|left|right|top|bottom|margin-left|margin-top)\s*:\s*-(?:\d{4}|\d{3}(?:px|r?em|%|v[wh])))"
)
# Seldom in letters, and each a way to show a text to some, or elsewhere, or in another order.
_HIDES_OTHERWISE = re.compile(
    rb"(?<![\w-])(?:(?:max-)?(?:height|width)\s*:\s*(?:0+|0*1px)(?![\d.%])[^\"'{}]{0,200}overflow|overflow[^\"'{};]{0,40};[^\"'{}]{0,200}(?<![\w-])"
    rb"(?:max-)?(?:height|width)\s*:\s*(?:0+|0*1px)(?![\d.%])|max-height\s*:\s*0*1px|transform\s*:\s*(?!none)[a-z]|(?:rgb|hsl)a\((?:[^,)]{1,20},){3}\s*0?\.?0*%?\s*\)|(?:rgb|hsl)a?\([^/)]{1,60}/\s*0?\.?0*%?\s*\)"
    rb"|color\s*:\s*#(?:[0-9a-f]{3}0|[0-9a-f]{6}0[0-9a-f])(?![0-9a-f])|-?webkit-text-fill-color|opacity\s*:\s*(?:0?\.[0-2]|[0-9]%|1[0-9]%)"
    rb"|filter\s*:\s*opacity|letter-spacing\s*:\s*-(?:\d*\.?[5-9]|[1-9])\d*(?:\.\d+)?r?em|line-height\s*:\s*0+(?:px)?(?![\d.])|display\s*:\s*var\(|font-size\s*:\s*calc\("
    rb"|(?:margin|left|right|top|bottom)[a-z-]*\s*:\s*(?:\d{3,}v[wh]|[1-9]\d{2,}%)|position\s*:\s*fixed|z-index\s*:\s*-|(?:row|column)-reverse|content-visibility"
    rb"|direction\s*:\s*rtl)"
)
_ODD_TAG = re.compile(rb"<(?:rp|mphantom)\b|<[a-z][^<>]*\s(?:popover(?=[\s=/>])|dir\s*=\s*[\"']?rtl)|<!\[if\s+!?\s*\(?mso|<!--+>")
_PROGRAMMED = re.compile(
    rb"<(?:script|template|noscript|noembed|noframes|details|dialog|datalist|bdo|plaintext|xmp)\b"
    rb"|[\s\"'/]on(?:load|error|click|focus|blur|begin|end|toggle|(?:mouse|pointer|key|animation|transition)[a-z]+)\s*=|javascript:"
)
_HIDDEN_TAG = re.compile(rb"<[a-z][^<>]*\shidden(?=[\s=/>])")
_CONDITION = re.compile(rb"<!--\[if\b[^\]]{0,200}\]>")
_TAG = re.compile(rb"<[^<>]*>|&nbsp;|\s")


def loads(html: bytes) -> bool:
    """Whether a reader that loads what it is told to shows more than these octets: pictures, styles, frames from elsewhere."""
    return len(html) > MOST or any(_loads(form) for form in _forms(html))


def hides(html: bytes) -> bool:
    """Whether some readers show a part of the text that others don't: hidden by CSS, made by a script, meant for Outlook alone."""
    if len(html) > MOST:
        return True
    return any(
        any(each.search(form) for each in (_HIDES, _HIDES_OTHERWISE, _PROGRAMMED, _HIDDEN_TAG, _ODD_TAG)) or _conditional(form)
        for form in map(_without_style_tags, _forms(html))
    )


def _forms(html: bytes) -> Iterator[bytes]:
    """In small letters, without character references, and once more without comments and escapes of CSS if there are any."""
    text = html.lower()
    if b"&" in text:
        text = _REFERENCE.sub(_referred, text).lower()
    yield text
    if b"\\" in text or b"/*" in text:
        yield _CSS_ESCAPE.sub(_escaped, _without_comments(text)).lower()


def _referred(found: re.Match[bytes]) -> bytes:
    if found[3]:
        return _NAMED[found[3]]
    number = int(found[1]) if found[1] else int(found[2], 16)
    return bytes((number,)) if number < 128 and number not in b"<>&" else found[0]


def _without_comments(text: bytes) -> bytes:
    cut = text.rfind(b"*/") + 2  # an opening behind the last end would be looked for to the end of the text, each time
    return _CSS_COMMENT.sub(b"", text[:cut]) + text[cut:] if cut > 1 else text


def _escaped(found: re.Match[bytes]) -> bytes:
    if found[2]:
        return found[2]
    number = int(found[1], 16)
    return bytes((number,)) if number < 128 else b"?"


def _without_style_tags(text: bytes) -> bytes:
    return _STYLE_TAG.sub(b"<style>", text)


def _loads(text: bytes) -> bool:
    return (
        bool(_LOADS.search(text))
        or any(_is_outside(text, found.end()) for pattern in (_LOADED, _URL) for found in pattern.finditer(text))
        or any(b"//" in found[1] for found in _CANDIDATES.finditer(text))
        or any(_leads_outside(found[1]) for found in _LINKED.finditer(text))
    )


def _is_outside(text: bytes, at: int) -> bool:
    """Whether the address there names a place that is not in this message; browsers skip blanks and line ends in it."""
    return bool(_OUTSIDE.match(text[at : at + 200].translate(None, _BLANKS)))


def _leads_outside(tag: bytes) -> bool:
    if tag.count(b'"') % 2 or tag.count(b"'") % 2:  # a ">" in quotes: the tag goes on
        return True
    return any(_is_outside(tag, found.end()) for found in _HREF.finditer(tag))


def _conditional(text: bytes) -> bool:
    """Whether a comment that Outlook reads as a condition has a text in it, and not only its own styles and settings."""
    at = 0
    while found := _CONDITION.search(text, at):
        at = text.find(b"<![endif]", found.end())
        if at < 0:
            return True
        if _TAG.sub(b"", _without(_without(text[found.end() : at], b"<xml", b"</xml>"), b"<style", b"</style>")).strip(b"-!"):
            return True
    return False


def _without(text: bytes, opening: bytes, ending: bytes) -> bytes:
    kept, at = [], 0
    while (start := text.find(opening, at)) >= 0 and (stop := text.find(ending, start)) >= 0:
        kept.append(text[at:start])
        at = stop + len(ending)
    return b"".join([*kept, text[at:]])
