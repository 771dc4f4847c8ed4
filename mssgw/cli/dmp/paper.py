"""A verb on a document in a file: the forms in which people read it, without a DMP and without a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmp_connector.cda.read import MAX_CDA
from dmp_connector.errors import BadDocument, BadInput, DmpError
from mssgw.cli.dmp.documents import AsForm, Output, Overwrite, require_writable, write_form
from mssgw.cli.dmp.session import refused
from mssgw.cli.frame import Json, of_os
from mssgw.core.texts import message
from mssgw.dossier import Form
from mssgw.dossier.forms import in_form

app = typer.Typer()


@app.command()
def render(
    file: Annotated[Path, typer.Argument(metavar="CDA.xml", help="A document, from a mail or an archive.")],
    target: Output,
    form: AsForm = Form.PDFA,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """A CDA in a file as a page, as a PDF/A-1, or the PDF inside it."""
    try:
        require_writable(target, overwrite=overwrite)
        content = in_form(_read(file), form)
        write_form(target, content, {"ok": True, "form": form.value}, file.name, overwrite=overwrite, json=json)
    except OSError as error:
        refused(BadInput(of_os(error)), json=json)
    except DmpError as error:
        refused(error, json=json)


def _read(file: Path) -> bytes:
    """Raises OSError, BadDocument."""
    if (size := file.stat().st_size) > MAX_CDA:
        raise BadDocument(message("dmp.bytes-most-taken", name=file.name, size=size, limit=MAX_CDA))
    return file.read_bytes()
