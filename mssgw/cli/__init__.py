"""The verbs. Each is a few lines that call flow, store or a service; a family is a module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mssgw import __version__
from mssgw.cli import account, config, demo, dmp, queue, smime, trust, xdm
from mssgw.core.errors import ConfigError, MailError

app = typer.Typer(
    name="mssgw", help="Secure mail server and gateway for MSSanté.", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
app.add_typer(account.app, name="account")
app.add_typer(account.mailbox_app, name="mailbox")
app.add_typer(account.seal_app, name="seal")
app.add_typer(queue.app, name="queue")
app.command("trace")(queue.trace)
app.add_typer(queue.app, name="queue")
app.add_typer(trust.app, name="trust")
app.add_typer(smime.app, name="smime")
app.add_typer(dmp.app, name="dmp")
app.add_typer(xdm.app, name="xdm")
app.command("check")(account.check)
app.command("trace")(queue.trace)
app.command("demo")(demo.demo)


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
    try:
        app(standalone_mode=True)
    except (ConfigError, MailError, OSError) as error:
        sys.stderr.write(f"mssgw: {error}\n")
        return 1
    return 0
