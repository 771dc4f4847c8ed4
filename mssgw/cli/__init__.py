"""The verbs. Each is a few lines that call flow, store or a service; a family is a module."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mssgw import __version__
from mssgw.cli.frame import Family, Group, foreseen

FAMILIES = {  # word -> module and its typer.Typer
    "config": ("config", "app"),
    "account": ("account", "app"),
    "mailbox": ("account", "mailbox_app"),
    "identity": ("identity", "app"),
    "recipient": ("recipient", "app"),
    "seal": ("seal", "app"),
    "queue": ("queue", "app"),
    "trust": ("trust", "app"),
    "smime": ("smime", "app"),
    "dmp": ("dmp", "app"),
    "xdm": ("xdm", "app"),
    "backup": ("backup", "app"),
}
SINGLE = {
    "init": ("init", "init"),
    "check": ("account", "check"),
    "trace": ("queue", "trace"),
    "restore": ("backup", "restore"),
    "demo": ("demo", "demo"),
    "conformity": ("conformity", "conformity"),
}  # word -> module and its function


class OnDemand(Group):
    """Loads a family when it is asked for: a verb should not wait for the imports of the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted({*super().list_commands(ctx), *FAMILIES, *SINGLE})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in FAMILIES and cmd_name not in SINGLE:
            return super().get_command(ctx, cmd_name)
        module, name = FAMILIES.get(cmd_name) or SINGLE[cmd_name]
        found = getattr(importlib.import_module(f"mssgw.cli.{module}"), name)
        if cmd_name in SINGLE:
            single = Family(add_completion=False)
            single.command(cmd_name)(found)
            return typer.main.get_command(single)
        command = typer.main.get_group(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="mssgw",
    cls=OnDemand,
    help="Secure mail server and gateway for MSSanté.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def serve(path: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration of the node.")]) -> None:
    """Run the node until it is told to stop."""
    from mssgw.node.parent import serve as run_node

    raise typer.Exit(run_node(path))


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"mssgw {__version__}\n")


def main() -> int:
    """Run a verb. What was foreseen ends in a sentence and status 1; only bugs print a traceback."""
    os.umask(0o077)  # what a verb writes may hold patient data
    return foreseen(lambda: app(standalone_mode=True))
