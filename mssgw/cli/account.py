"""`mssgw account …`, `mssgw mailbox …`, `mssgw check`: what lives in the store.

Passwords are asked for, or read from standard input; they never stand in arguments.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from mssgw import store
from mssgw.cli.config import loaded
from mssgw.cli.frame import ConfigFile, Family, Json, failure, inline, output, table
from mssgw.cli.opened import reading, with_store, writing
from mssgw.cli.prompts import hidden, require_agreed
from mssgw.cli.usage import WrongUse
from mssgw.core.address import Address, AddressError
from mssgw.core.errors import NotFound, Refused
from mssgw.core.texts import Message, message
from mssgw.identity.passwords import Passwords
from mssgw.store import Reader, Store, Transaction, accounts, mailboxes
from mssgw.store.accounts import Account, Kind, NewAccount, Role, Status

T = TypeVar("T")


class _ListByDefault(TyperGroup):
    """`members ADDRESS` is `members list ADDRESS`: an address is no verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        verb = not args or args[0] in self.commands
        return super().parse_args(ctx, args if verb or not any("@" in one for one in args) else ["list", *args])


app = Family(help="Accounts: who has a mailbox here.", no_args_is_help=True)
members_app = Family(cls=_ListByDefault, help="Who reads an organisation's mailbox.", no_args_is_help=True)
app.add_typer(members_app, name="members")
mailbox_app = Family(help="The folders of an account.", no_args_is_help=True)

MIN_PASSWORD = 8  # characters; length rules belong to people's policy, this stops slips


def address_argument(text: str) -> Address:
    try:
        return Address.parse(text)
    except AddressError as error:
        raise WrongUse(message("at", place=text, what=error.message)) from error


_Who = Annotated[Address, typer.Argument(metavar="ADDRESS", parser=address_argument)]
_Person = Annotated[Address, typer.Argument(metavar="PERSON", parser=address_argument)]
_Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Levels are separated by /.")]


def account_at(rx: Reader, address: Address) -> Account:
    """Raises NotFound."""
    if (found := accounts.by_address(rx, address)) is None:
        raise NotFound(message=message("account.none", address=address), text=f"No account {address}")
    return found


def _password(from_stdin: bool) -> str:
    password = (
        sys.stdin.readline().rstrip("\r\n") if from_stdin else hidden(message("account.ask-password"), "--password-stdin", twice=True)
    )
    if len(password) < MIN_PASSWORD:
        raise Refused(message=message("account.short-password", least=MIN_PASSWORD))
    return str(password)


def _hashed(password: str) -> str:
    passwords = Passwords()
    try:
        return passwords.hash(password)
    finally:
        passwords.close()


def _described(account: Account) -> dict[str, Any]:
    return {
        "address": str(account.address),
        "kind": account.kind,
        "role": account.role,
        "status": account.status,
        "name": account.display_name,
        "rpps": account.rpps,
        "password": account.password_hash is not None,
        "created": account.created.isoformat(),
    }


# -- account ---------------------------------------------------------------------------------------------


@app.command()
def add(
    who: _Who,
    config: ConfigFile,
    kind: Annotated[Kind, typer.Option(help="Person, organisation or application.")] = Kind.PER,
    name: Annotated[str, typer.Option(help="The name people see.")] = "",
    rpps: Annotated[str | None, typer.Option(help="The person's national number.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May administer; takes mail for postmaster.")] = False,
    password_stdin: _Stdin = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="Nobody can log in by password.")] = False,
    json: Json = False,
) -> None:
    """Make an account and its folders."""
    settings = loaded(config)
    if settings.domain_named(who.domain) is None:
        raise failure(message("account.domain-not-here", domain=who.domain, file=config))
    hashed = None if no_password else _hashed(_password(password_stdin))
    new = NewAccount(who, kind, Role.ADMIN if admin else Role.USER, name, rpps, hashed)
    made: Account = with_store(settings, lambda opened: opened.write(lambda tx: accounts.add(tx, new)), make=True)
    output(message("account.added", address=made.address), json=json, document=_described(made))


@app.command("list")
def list_(config: ConfigFile, json: Json = False) -> None:
    """List all accounts."""
    found = reading(config, accounts.list_all)
    rows = [
        (
            one.address,
            one.kind,
            inline(message(f"account.role.{one.role}")),
            inline(message(f"account.status.{one.status}")),
            one.display_name,
        )
        for one in found
    ]
    output(
        table(message("account.columns"), rows) if rows else message("account.no-accounts"),
        json=json,
        document=[_described(one) for one in found],
    )


@app.command()
def suspend(who: _Who, config: ConfigFile, json: Json = False) -> None:
    """Refuse logins and mail for an account; its mail stays."""
    _set_status(config, who, Status.SUSPENDED, json)


@app.command()
def resume(who: _Who, config: ConfigFile, json: Json = False) -> None:
    """Undo `suspend`."""
    _set_status(config, who, Status.ACTIVE, json)


def _set_status(path: Path, who: Address, status: Status, json: bool) -> None:
    def change(tx: Transaction) -> Account:
        found = account_at(tx, who)
        accounts.set_status(tx, found.id, status)
        return accounts.by_id(tx, found.id)

    changed = writing(path, change)
    output(
        message("account.state", address=changed.address, state=message(f"account.status.{status}")),
        json=json,
        document=_described(changed),
    )


@app.command()
def passwd(who: _Who, config: ConfigFile, password_stdin: _Stdin = False) -> None:
    """Set the password of an account."""
    account = reading(config, lambda rx: account_at(rx, who))
    hashed = _hashed(_password(password_stdin))
    writing(config, lambda tx: accounts.set_password(tx, account.id, hashed))
    output(message("account.password-changed", address=account.address), json=False, document={})


@app.command()
def alias(
    who: _Who,
    other: Annotated[Address, typer.Argument(metavar="ALIAS", parser=address_argument)],
    config: ConfigFile,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
) -> None:
    """Give an account another address."""

    def change(tx: Transaction) -> None:
        account = account_at(tx, who)
        if remove:
            accounts.remove_alias(tx, other)
        else:
            accounts.add_alias(tx, account.id, other)

    writing(config, change)
    output(message("account.alias-removed" if remove else "account.alias-added", address=other, account=who), json=False, document={})


@members_app.command("list")
def members_list(who: _Who, config: ConfigFile, json: Json = False) -> None:
    """List the members of an organisation."""
    found = reading(config, lambda rx: accounts.members(rx, account_at(rx, who).id))
    output(
        "\n".join(str(one.address) for one in found) or message("account.no-members"),
        json=json,
        document=[_described(one) for one in found],
    )


@members_app.command("add")
def members_add(who: _Who, person: _Person, config: ConfigFile) -> None:
    """Let a person read an organisation's mailbox."""
    writing(config, lambda tx: accounts.add_member(tx, account_at(tx, who).id, account_at(tx, person).id))
    output(message("account.member-added", person=person, account=who), json=False, document={})


@members_app.command("remove")
def members_remove(who: _Who, person: _Person, config: ConfigFile) -> None:
    """Undo `members add`."""
    writing(config, lambda tx: accounts.remove_member(tx, account_at(tx, who).id, account_at(tx, person).id))
    output(message("account.member-removed", person=person, account=who), json=False, document={})


# -- mailbox ---------------------------------------------------------------------------------------------


@mailbox_app.command("list")
def mailbox_list(who: _Who, config: ConfigFile, json: Json = False) -> None:
    """List the folders of an account."""
    found = reading(config, lambda rx: mailboxes.list_all(rx, account_at(rx, who).id))
    document = [
        {
            "name": box.name,
            "kind": box.kind,
            "messages": box.messages,
            "unseen": box.unseen,
            "octets": box.size,
            "special_use": box.special_use,
            "subscribed": box.subscribed,
        }
        for box in found
    ]
    output(
        table(message("mailbox.columns"), [(box.name, box.messages, box.unseen, box.size) for box in found]), json=json, document=document
    )


@mailbox_app.command("create")
def mailbox_create(who: _Who, name: _Name, config: ConfigFile) -> None:
    """Make a folder, subscribed."""

    def make(tx: Transaction) -> str:
        account = account_at(tx, who)
        made = mailboxes.create(tx, account.id, name)
        mailboxes.subscribe(tx, account.id, made.name)
        return made.name

    output(message("mailbox.created", name=writing(config, make)), json=False, document={})


@mailbox_app.command("rename")
def mailbox_rename(who: _Who, name: _Name, new: Annotated[str, typer.Argument(metavar="NEW")], config: ConfigFile) -> None:
    """Rename a folder and those below it."""
    writing(config, lambda tx: mailboxes.rename(tx, account_at(tx, who).id, name, new))
    output(message("mailbox.renamed", name=name, new=new), json=False, document={})


@mailbox_app.command("delete")
def mailbox_delete(
    who: _Who, name: _Name, config: ConfigFile, yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False
) -> None:
    """Delete a folder with its messages."""
    if not yes:
        require_agreed(message("mailbox.ask-delete", name=name, account=who), "--yes")
    writing(config, lambda tx: mailboxes.delete(tx, account_at(tx, who).id, name))
    output(message("mailbox.deleted", name=name), json=False, document={})


# -- the store itself ------------------------------------------------------------------------------------


def check(
    config: ConfigFile,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also remove what nothing has referred to for a day.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --sweep: also remove bodies when most of them are without a row.")] = False,
    shallow: Annotated[bool, typer.Option("--shallow", help="Don't open every message.")] = False,
    json: Json = False,
) -> None:
    """Derive every invariant of the store again. Exit status 1 when one doesn't hold."""

    async def work(opened: Store) -> tuple[list[store.Problem], store.Swept | None]:
        problems = await opened.check(deep=not shallow)
        return problems, await opened.sweep(force=force) if sweep and not problems else None

    problems, swept = with_store(loaded(config), work)
    document = {
        "problems": [
            {"invariant": one.invariant, "where": one.where, "sentence": one.sentence.en, "sentence_fr": one.sentence.fr}
            for one in problems
        ],
        "swept": swept and asdict(swept),
    }
    said: list[str | Message] = [one.message for one in problems] or [message("store.holds")]
    if swept:
        said.append(message("store.swept", **asdict(swept)))
    output(*said, json=json, document=document)
    if problems:
        raise failure(message("store.problems", count=len(problems)))
    if swept and swept.stayed:
        raise failure(message("store.too-many-strays", count=swept.stayed), fault="strays")
