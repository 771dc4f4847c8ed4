"""`mssgw dmp VERB`: the national record from the command line."""

from __future__ import annotations

from mssgw.cli.dmp import creation, documents, dossiers, filing, paper, station, tables, trail, upkeep
from mssgw.cli.frame import Family

app = Family(help="The national patient record (DMP).", no_args_is_help=True)
for family in (dossiers, documents, filing, creation, trail, station, upkeep, paper, tables):
    app.adopt(family.app)
