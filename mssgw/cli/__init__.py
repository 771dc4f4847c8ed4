"""The verbs. Each is a few lines that call flow, store or a service; a family is a module."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from mssgw import __version__
from mssgw.core.errors import ConfigError, MailError

app = typer.Typer(
    name="mssgw", help="Secure mail server and gateway for MSSanté.", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
FAMILIES = {  # word -> module and its typer.Typer
    "config": ("config", "app"), "account": ("account", "app"), "mailbox": ("account", "mailbox_app"), "seal": ("account", "seal_app"),
    "queue": ("queue", "app"), "trust": ("trust", "app"), "smime": ("smime", "app"), "dmp": ("dmp", "app"), "xdm": ("xdm", "app"),
}
SINGLE = {"check": ("account", "check"), "trace": ("queue", "trace"), "demo": ("demo", "demo")}  # word -> module and its function


@app.command()
def serve(path: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration of the node.")]) -> None:
    """Run the node until it is told to stop."""
    from mssgw.serve import serve as run_node

    raise typer.Exit(run_node(path))


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"mssgw {__version__}\n")


def main() -> int:
    """Run a verb. What was foreseen ends in a sentence and status 1; only bugs print a traceback."""
    wanted = next((word for word in sys.argv[1:] if word in FAMILIES or word in SINGLE), None)
    for word in [wanted] if wanted else [*FAMILIES, *SINGLE]:
        _add(word)
    try:
        app(standalone_mode=True)
    except (ConfigError, MailError, OSError) as error:
        sys.stderr.write(f"mssgw: {error}\n")
        return 1
    return 0


def _add(word: str) -> None:
    """Load one family only, when one is asked for: a verb should not wait for the imports of the others."""
    module, name = FAMILIES.get(word) or SINGLE[word]
    found = getattr(importlib.import_module(f"mssgw.cli.{module}"), name)
    if word in FAMILIES:
        app.add_typer(found, name=word)
    else:
        app.command(word)(found)
