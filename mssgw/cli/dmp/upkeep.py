"""`mssgw dmp store`: is the connector's store whole, and new keys for it."""

from __future__ import annotations

from typing import Annotated

import typer

from dmp_connector.errors import DmpError
from mssgw.cli.dmp.session import refused, working
from mssgw.cli.frame import ConfigFile, Json, output, run

app = typer.Typer()


@app.command("store")
def store(
    config: ConfigFile,
    rotate: Annotated[bool, typer.Option("--rotate", help="Give the store new keys and write every row again under them.")] = False,
    json: Json = False,
) -> None:
    """Check the connector's store: every sealed value opened, every invariant derived again."""
    try:
        problems = run(working(config).check_store(rotate=rotate))
    except DmpError as error:
        refused(error, json=json)
    said = ["nouvelles clés"] if rotate else []
    text = "\n".join(problems or [", ".join([*said, "aucune anomalie"])])
    output(text, json=json, document={"ok": not problems, "rotated": rotate, "problems": list(problems)})
    raise typer.Exit(1 if problems else 0)
