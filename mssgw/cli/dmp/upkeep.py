"""`mssgw dmp store`: is the connector's store whole, and new keys for it."""

from __future__ import annotations

from typing import Annotated

import typer

from dmp_connector.errors import DmpError
from mssgw.cli.config import loaded
from mssgw.cli.dmp.session import refused
from mssgw.cli.dmp.store import open_store
from mssgw.cli.frame import ConfigFile, Json, output

app = typer.Typer()


@app.command("store")
def store(
    config: ConfigFile,
    rotate: Annotated[bool, typer.Option("--rotate", help="Give the store new keys and write every row again under them.")] = False,
    json: Json = False,
) -> None:
    """Check the connector's store: every sealed value opened, every invariant derived again."""
    try:
        opened = open_store(loaded(config), config)
        try:
            if rotate:
                opened.rotate()
            problems = list(opened.check())
        finally:
            opened.close()
    except DmpError as error:
        refused(error, json=json)
        return
    said = ["nouvelles clés"] if rotate else []
    text = "\n".join(problems or [", ".join([*said, "aucune anomalie"])])
    output(text, json=json, document={"ok": not problems, "rotated": rotate, "problems": problems})
    raise typer.Exit(1 if problems else 0)
