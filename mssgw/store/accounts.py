"""Accounts: persons, organisations and applications with a mailbox here (ANS: PER, ORG, APP).

An address is found without regard to the case of its local part (`Address.key`). Making an account makes
its folders. Accounts are suspended, never removed: their mail and their audit rows stay.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mssgw.core.address import Address
from mssgw.core.envelope import AccountId
from mssgw.core.errors import NotFound, Refused
from mssgw.store import audit, mailboxes, schema
from mssgw.store.engine import Reader, Transaction


class Kind(enum.StrEnum):
    PER = "PER"  # a professional
    ORG = "ORG"  # an organisation's box, read by its members
    APP = "APP"  # an application


class Role(enum.StrEnum):
    USER = "USER"
    ADMIN = "ADMIN"


class Status(enum.StrEnum):
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True)
class NewAccount:
    address: Address
    kind: Kind = Kind.PER
    role: Role = Role.USER
    display_name: str = ""
    rpps: str | None = None
    password_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    id: AccountId
    address: Address
    kind: Kind
    role: Role
    status: Status
    display_name: str
    rpps: str | None
    password_hash: str | None
    created: datetime

    def __repr__(self) -> str:
        return f"Account({self.id}, {self.address}, {self.kind}, {self.status})"


_account, _alias, _member = schema.account.c, schema.alias.c, schema.member.c
_ALL = sa.select(schema.account)
_BY_KEY = _ALL.where(_account.key == sa.bindparam("wanted"))
_BY_ALIAS = _ALL.join(schema.alias).where(_alias.key == sa.bindparam("wanted"))
_BY_ID = _ALL.where(_account.id == sa.bindparam("wanted"))
_LIST = _ALL.order_by(_account.key)
_MEMBERS = (
    _ALL.join(schema.member, _member.person_id == _account.id)
    .where(_member.organisation_id == sa.bindparam("wanted"))
    .order_by(_account.key)
)
_ORGANISATIONS = (
    _ALL.join(schema.member, _member.organisation_id == _account.id)
    .where(_member.person_id == sa.bindparam("wanted"))
    .order_by(_account.key)
)
_TAKEN = (
    sa.select(_account.id)
    .where(_account.key == sa.bindparam("wanted"))
    .union_all(sa.select(_alias.account_id).where(_alias.key == sa.bindparam("wanted")))
)
_ANY = sa.select(_account.id).limit(1)
_FIRST_ADMIN = _ALL.where(_account.role == Role.ADMIN, _account.status == Status.ACTIVE).order_by(_account.id).limit(1)


def add(tx: Transaction, new: NewAccount) -> Account:
    """Make an account and its folders. Raises Refused when the address is taken."""
    _require_free(tx, new.address)
    row = {
        "address": str(new.address),
        "key": new.address.key,
        "kind": new.kind,
        "role": new.role,
        "status": Status.ACTIVE,
        "display_name": new.display_name,
        "rpps": new.rpps,
        "password_hash": new.password_hash,
        "uidvalidity": int(tx.now.timestamp()) - 1,
        "created": tx.now,
    }
    number = tx.run(schema.insert_new(tx.dialect, schema.account, _account.id), row).scalar()
    if number is None:
        raise _taken(new.address)
    mailboxes.create_defaults(tx, AccountId(number))
    audit.add(tx, "admin", audit.Act.ACCOUNT, "added", recipient=new.address, kind=new.kind)
    tx.ring(f"account:{number}")
    return by_id(tx, AccountId(number))


def by_address(rx: Reader, address: Address) -> Account | None:
    """The account of an address or of one of its aliases."""
    wanted = {"wanted": address.key}
    row = rx.run(_BY_KEY, wanted).first() or rx.run(_BY_ALIAS, wanted).first()
    return None if row is None else _of(row)


def by_id(rx: Reader, account: AccountId) -> Account:
    """Raises NotFound."""
    row = rx.run(_BY_ID, {"wanted": account}).first()
    if row is None:
        raise NotFound(detail=f"account {account}")
    return _of(row)


def list_all(rx: Reader) -> list[Account]:
    return [_of(row) for row in rx.run(_LIST)]


def exist(rx: Reader) -> bool:
    """Whether there is any account."""
    return rx.run(_ANY).first() is not None


def first_admin(rx: Reader) -> Account | None:
    """Who takes mail for postmaster when the configuration names nobody."""
    row = rx.run(_FIRST_ADMIN).first()
    return None if row is None else _of(row)


def set_password(tx: Transaction, account: AccountId, password_hash: str | None) -> None:
    _change(tx, account, "password", password_hash=password_hash)


def set_status(tx: Transaction, account: AccountId, status: Status) -> None:
    _change(tx, account, status.lower(), status=status)


def set_role(tx: Transaction, account: AccountId, role: Role) -> None:
    _change(tx, account, f"role {role.lower()}", role=role)


def describe(tx: Transaction, account: AccountId, display_name: str, rpps: str | None) -> None:
    _change(tx, account, "described", display_name=display_name, rpps=rpps)


def _change(tx: Transaction, account: AccountId, outcome: str, **values: Any) -> None:
    if not tx.run(sa.update(schema.account).where(_account.id == account), values).rowcount:
        raise NotFound(detail=f"account {account}")
    audit.add(tx, "admin", audit.Act.ACCOUNT, outcome, recipient=by_id(tx, account).address)
    tx.ring(f"account:{account}")


# -- organisations ---------------------------------------------------------------------------------------


def add_member(tx: Transaction, organisation: AccountId, person: AccountId) -> None:
    """Let a person read an organisation's box. Raises Refused unless they are an ORG and a PER."""
    if by_id(tx, organisation).kind is not Kind.ORG:
        raise Refused("Only an organisation has members", detail=f"account {organisation}")
    if by_id(tx, person).kind is not Kind.PER:
        raise Refused("Only a person can be a member", detail=f"account {person}")
    tx.run(schema.insert_new(tx.dialect, schema.member), {"organisation_id": organisation, "person_id": person})
    tx.ring(f"account:{person}")


def remove_member(tx: Transaction, organisation: AccountId, person: AccountId) -> None:
    tx.run(sa.delete(schema.member).where(_member.organisation_id == organisation, _member.person_id == person))
    tx.ring(f"account:{person}")


def members(rx: Reader, organisation: AccountId) -> list[Account]:
    return [_of(row) for row in rx.run(_MEMBERS, {"wanted": organisation})]


def organisations_of(rx: Reader, person: AccountId) -> list[Account]:
    return [_of(row) for row in rx.run(_ORGANISATIONS, {"wanted": person})]


# -- aliases ---------------------------------------------------------------------------------------------


def add_alias(tx: Transaction, account: AccountId, address: Address) -> None:
    """Another address of an account. Raises Refused when it is taken."""
    by_id(tx, account)
    _require_free(tx, address)
    row = {"key": address.key, "address": str(address), "account_id": account}
    if tx.run(schema.insert_new(tx.dialect, schema.alias, _alias.key), row).scalar() is None:
        raise _taken(address)


def remove_alias(tx: Transaction, address: Address) -> None:
    tx.run(sa.delete(schema.alias).where(_alias.key == address.key))


def aliases(rx: Reader, account: AccountId) -> list[Address]:
    found = rx.run(sa.select(_alias.address).where(_alias.account_id == account).order_by(_alias.key))
    return [Address.parse(row.address) for row in found]


def _require_free(rx: Reader, address: Address) -> None:
    if rx.run(_TAKEN, {"wanted": address.key}).first() is not None:
        raise _taken(address)


def _taken(address: Address) -> Refused:
    return Refused("This address is already in use", detail=str(address))


def _of(row: Any) -> Account:
    return Account(
        AccountId(row.id),
        Address.parse(row.address),
        Kind(row.kind),
        Role(row.role),
        Status(row.status),
        row.display_name,
        row.rpps,
        row.password_hash,
        row.created,
    )
