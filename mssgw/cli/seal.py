"""`mssgw seal …`: the master key, and its change."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from dmp_connector.errors import DmpError
from mssgw.backup.taking import dmp_store, is_made
from mssgw.cli.config import loaded
from mssgw.cli.frame import ConfigFile, Family, Json, both, failure, output, say
from mssgw.cli.opened import with_store
from mssgw.core.config import Config, credentials
from mssgw.core.texts import message
from mssgw.dossier.setup import open_store
from mssgw.observe import crash_point
from mssgw.store import rotation
from mssgw.store.keys import write_master

app = Family(help="The master key of the store.", no_args_is_help=True)


@app.command("new-key")
def new_key(file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Make a master key. Keep a copy elsewhere: losing it loses the mail."""
    try:
        write_master(file)
    except FileExistsError:
        raise failure(message("seal.key-is-there", file=file)) from None
    place = file.absolute()
    said = say("seal.made-credential" if place.parent == credentials.STORE else "seal.made-file", file=place, name=place.name)
    output(both(said), json=False, document={})


@app.command()
def rotate(
    config: ConfigFile,
    retire: Annotated[bool, typer.Option("--retire", help="The last step: prove that the former key opens nothing any more.")] = False,
    json: Json = False,
) -> None:
    """Wrap the keys of the domains and of the DMP store by seal.master_key instead of seal.former_key. Bodies stay as they are."""
    settings = loaded(config)
    if settings.seal.former_key is None:
        raise failure(say("seal.no-former", path=config), fault="seal.no-former")
    who = f"cli {getpass.getuser()}"
    step = rotation.retire if retire else rotation.rotate
    count = with_store(settings, lambda store: store.write(lambda tx: step(tx, who)))
    crash_point("seal.mail_done")
    dmp = _dmp(settings, config, former=not retire)
    former = str(settings.seal.former_key)
    if retire:
        said = [say("seal.retired", keys=count, path=config, former=former)]
    else:
        said = [say("seal.rotated", keys=count, path=config) if count else say("seal.already", path=config)]
    output(both(*said), json=json, document={"keys": count, "dmp": dmp, "retired": retire})


def _dmp(settings: Config, path: Path, *, former: bool) -> bool:
    """Open the DMP store, which wraps its keys anew when the former master key opened them. Whether there is one."""
    url = dmp_store(settings)
    if url is None or not is_made(url):
        return False
    if not former:
        settings = msgspec.structs.replace(settings, seal=msgspec.structs.replace(settings.seal, former_key=None))
    try:
        open_store(settings, path).close()
    except DmpError as error:
        raise failure(say("seal.dmp", why=error), fault="seal.dmp") from error
    return True
