"""`mssgw dmp VERB`: the national record from the command line (DEMO.md)."""

from __future__ import annotations

import typer

from mssgw.cli.dmp import creation, documents, dossiers, station, upkeep

app = typer.Typer(help="The national patient record (DMP).", no_args_is_help=True)
for family in (dossiers, documents, creation, station, upkeep):
    app.registered_commands.extend(family.app.registered_commands)
