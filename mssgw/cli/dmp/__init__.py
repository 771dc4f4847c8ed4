"""`mssgw dmp VERB`: the national record from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from mssgw.cli.dmp import agent, creation, documents, dossiers, filing, paper, sending, station, tables, trail, upkeep
from mssgw.cli.frame import Family

app = Family(help="The national patient record (DMP).", no_args_is_help=True)


@app.callback()
def dmp(
    no_agent: Annotated[
        bool, typer.Option("--no-agent", help="Work without the agent, also when it runs (as MSSGW_NO_AGENT=1 does).")
    ] = False,
) -> None:
    """The national patient record (DMP)."""
    # It is mssgw/agent/client.py that looks for the agent, before any of this is imported.


for family in (dossiers, documents, filing, sending, creation, trail, station, upkeep, paper, tables):
    app.adopt(family.app)
app.add_typer(agent.app, name="agent")
