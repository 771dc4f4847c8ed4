"""The process that prints (`printer`): WeasyPrint for the page, pdfium for pictures of PDFs, pikepdf for the whole.

Before the first page it takes away from itself what no page needs: memory beyond a limit, files to write, other programs, the
network. The page's only addresses are `part:N`, the images that came with it: anything else that WeasyPrint would fetch is an
error. Images are decoded here, of four known formats and within a number of pixels, and drawn again without transparency
(ISO 19005-1 6.4). Letters that no font has are reported: a page with blank boxes in it is not the document.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import resource
import sys
from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from dmp_connector.child import receive, send
from dmp_connector.paper.printing import ABSENT, FAILED, MAX_PICTURES, MEMORY, PAGES
from dmp_connector.paper.xmp import PRODUCER, xmp_of

_MEMORY = 1536 * 1024 * 1024
_MAX_PIXELS = 50_000_000
_FORMATS = ("PNG", "JPEG", "GIF", "TIFF")
_DPI = 130  # of pictures of pages
_A4_INCHES = 12.0
_UNKNOWN = re.compile(r'unsupported by fonts: "(.)"', re.DOTALL)
_CLOSED = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.remove", "os.rename", "shutil.", "urllib.")


class Refused(Exception):
    """The page is not printed; the first argument is a word of `printing`."""


class _Letters(logging.Handler):
    """Collects the letters that WeasyPrint finds in no font."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if found := _UNKNOWN.search(record.getMessage()):
            self.missing[found[1]] = None


def main() -> None:
    """Answer questions on standard input until it ends."""
    inward, outward = sys.stdin.buffer, sys.stdout.buffer
    os.environ["FONTCONFIG_FILE"] = str(Path(__file__).parent / "fonts" / "fonts.conf")
    try:
        press = _Press()
    except (ImportError, OSError) as error:
        if receive(inward) is not None:
            _answer(outward, {"refused": ABSENT, "log": str(error)})
        return
    _close_doors()
    while (question := receive(inward)) is not None:
        _answer(outward, _printed(press, json.loads(question)))


def _answer(outward: Any, answer: dict[str, Any]) -> None:
    send(outward, json.dumps(answer).encode())


def _printed(press: _Press, question: dict[str, Any]) -> dict[str, Any]:
    try:
        return press.print(question)
    except Refused as error:
        return {"refused": error.args[0], "log": str(error.__cause__ or error)}
    except MemoryError:
        return {"refused": MEMORY}
    except Exception as error:  # whatever a library makes of a stranger's octets: the process goes on
        return {"refused": FAILED, "log": f"{type(error).__name__}: {error}"}


def _close_doors() -> None:
    """From here on this process computes and answers, and does nothing else."""
    for kind, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        allowed = resource.getrlimit(kind)[1]
        limit = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (limit, limit))

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_CLOSED) or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            raise PermissionError(event)

    sys.addaudithook(refuse)


class _Press:
    """The libraries, loaded once. Raises ImportError, OSError (no libpango)."""

    def __init__(self) -> None:
        import pikepdf
        import pypdfium2
        import weasyprint
        from PIL import Image, ImageFile
        from weasyprint.logger import LOGGER
        from weasyprint.text.fonts import FontConfiguration
        from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

        ImageFile.LOAD_TRUNCATED_IMAGES = False  # WeasyPrint sets it: a cut image would look like a whole one
        self._pikepdf, self._pdfium, self._weasyprint, self._image = pikepdf, pypdfium2, weasyprint, Image
        self._letters = _Letters()
        LOGGER.addHandler(self._letters)
        LOGGER.propagate = False
        parts = self._parts = {}  # type: dict[str, bytes]

        class Parts(URLFetcher):  # type: ignore[misc]  # the library carries no types
            """Nothing but the images of the page."""

            def fetch(self, url: str, headers: Any = None) -> Any:
                if url not in parts:
                    raise FatalURLFetchingError(url[:40])
                if not parts[url]:
                    raise ValueError(url)  # what stands in its place is the page's own `alt`
                return URLFetcherResponse(url, parts[url], {"Content-Type": "image/png"})

        self._fetcher, self._fatal = Parts(), FatalURLFetchingError
        self._fonts = FontConfiguration()
        weasyprint.HTML(string="<p>a<b>b</b></p>", url_fetcher=self._fetcher).write_pdf(font_config=self._fonts)  # everything is loaded

    def print(self, question: dict[str, Any]) -> dict[str, Any]:
        """One page. Raises Refused, and whatever a library raises."""
        self._letters.missing.clear()
        self._parts.clear()
        self._parts.update((f"part:{n}", self._redrawn(_octets(image))) for n, image in enumerate(question["images"]))
        kept = [_octets(pdf["content"]) for pdf in question["pdfs"] if self._as_it_is(pdf)]
        sheets = "".join(self._sheets(pdf) for pdf in question["pdfs"] if not self._as_it_is(pdf))
        html = question["html"].replace("</body>", f"{sheets}</body>") if sheets else question["html"]
        try:
            document = self._weasyprint.HTML(string=html, url_fetcher=self._fetcher, base_url=None)
            printed = document.write_pdf(pdf_variant="pdf/a-1b", font_config=self._fonts, presentational_hints=False)
        except self._fatal as error:  # a BaseException, so that WeasyPrint does not go on without the part
            raise Refused(FAILED) from error
        if self._letters.missing:
            return {"missing": list(self._letters.missing)[:20]}
        whole = self._finished(printed, kept, question)
        return {"pdf": base64.b64encode(whole).decode("ascii")}

    def _keep(self, picture: bytes) -> str:
        address = f"part:{len(self._parts)}"
        self._parts[address] = picture
        return address

    def _as_it_is(self, pdf: dict[str, Any]) -> bool:
        """A PDF/A-1 whose colours are those of our output intent: one file has one (ISO 19005-1 6.2.2)."""
        if not pdf["as_it_is"]:
            return False
        with self._pikepdf.open(io.BytesIO(_octets(pdf["content"]))) as opened:
            intents: Any = opened.Root.get("/OutputIntents", ())
            return all(int(intent.DestOutputProfile.get("/N", 0)) == 3 for intent in intents if "/DestOutputProfile" in intent)

    def _redrawn(self, content: bytes) -> bytes:
        """The image as RGB without transparency; of one that cannot be read nothing."""
        try:
            with self._image.open(io.BytesIO(content), formats=_FORMATS) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise ValueError("too many pixels")
                kind = "JPEG" if image.format == "JPEG" else "PNG"
                picture = image.convert("RGBA")
            flat = self._image.new("RGB", picture.size, "white")
            flat.paste(picture, mask=picture.getchannel("A"))
        except (OSError, ValueError, SyntaxError, self._image.DecompressionBombError):
            return b""
        return self._encoded(flat, kind)

    def _encoded(self, image: Any, kind: str) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, quality=85)
        return out.getvalue()

    def _sheets(self, pdf: dict[str, Any]) -> str:
        """A picture of each page, or the sentence that it cannot be read. Raises Refused."""
        try:
            pictures = [self._keep(picture) for picture in self._pictures(_octets(pdf["content"]))]
        except self._pdfium.PdfiumError:
            return f'<p class="notice">{escape(pdf["unreadable"])}</p>'
        return "".join(f'<img class="sheet" alt="" src="{address}">' for address in pictures)

    def _pictures(self, content: bytes) -> Iterator[bytes]:
        """Each page as a JPEG. Raises Refused, PdfiumError."""
        with self._pdfium.PdfDocument(content) as pdf:
            if len(pdf) + len(self._parts) > MAX_PICTURES:
                raise Refused(PAGES)
            for page in pdf:
                longest = max(page.get_size()) / 72 or 1.0  # a page without size
                scale = _DPI / 72 * min(1.0, _A4_INCHES / longest)
                yield self._encoded(page.render(scale=scale, may_draw_forms=True).to_pil().convert("RGB"), "JPEG")

    def _finished(self, printed: bytes, kept: list[bytes], question: dict[str, Any]) -> bytes:
        """With the kept PDFs behind, and our metadata. The same input gives the same octets."""
        at = datetime.fromisoformat(question["at"])
        title, author = question["title"], question["author"]
        with self._pikepdf.open(io.BytesIO(printed)) as pdf:
            for content in kept:
                with self._pikepdf.open(io.BytesIO(content)) as other:
                    pdf.pages.extend(other.pages)
            stream = self._pikepdf.Stream(pdf, _packet(xmp_of(title, author, at)))
            stream.Type, stream.Subtype = self._pikepdf.Name.Metadata, self._pikepdf.Name.XML
            pdf.Root.Metadata = pdf.make_indirect(stream)
            information = {"/Title": title, "/Author": author, "/Producer": PRODUCER, "/CreationDate": f"D:{at:%Y%m%d%H%M%S}Z"}
            del pdf.trailer["/Info"]
            for key, value in information.items():
                if value:
                    pdf.docinfo[key] = value
            out = io.BytesIO()
            modes = self._pikepdf.ObjectStreamMode
            pdf.save(out, deterministic_id=True, object_stream_mode=modes.disable, force_version="1.4", compress_streams=True)
        return out.getvalue()


def _packet(xmp: str) -> bytes:
    return b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n' + xmp.encode() + b'\n<?xpacket end="w"?>'


def _octets(text: str) -> bytes:
    return base64.b64decode(text)


if __name__ == "__main__":
    main()
