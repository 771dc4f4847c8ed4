"""Identities: the keys and certificates of accounts, by which they sign and read mail.

    requested   a key and a certificate request; the certificate is still to come
    active      signs and opens, each as its certificate allows, within its dates
    retired     signs nothing any more, and goes on opening what was encrypted to it

Private keys are sealed under the key of the account's domain, or stay in a token. Rows are never removed: old mail needs
them. Nothing here decides whether a certificate is fit; `flow.enrolment` does, before `add`. A row that can't be used comes
with its fault (`usable`). Every change is an audit row and rings `CHANGED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NewType

import sqlalchemy as sa

from mssgw.core.address import Address
from mssgw.core.envelope import AccountId
from mssgw.core.errors import NotAllowed, NotFound
from mssgw.core.texts import message
from mssgw.store import audit, schema
from mssgw.store.accounts import Account
from mssgw.store.engine import Reader, Transaction
from mssgw.store.usable import Fault, Kind, State, bound, faults, opened, state_of

__all__ = ["CHANGED", "Fault", "Identity", "IdentityId", "Issued", "Kind", "NewIdentity", "State"]

CHANGED: Final = "identities"  # the topic of the doorbell

IdentityId = NewType("IdentityId", int)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with the chain that is sent along, all DER. `fingerprint` is the SHA-256."""

    der: bytes
    fingerprint: bytes
    not_before: datetime
    not_after: datetime
    chain: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """`private` (PKCS#8, DER) or `token`: one of them. Without `issued` it is a request, with its CSR (DER)."""

    kind: Kind
    public: bytes = field(repr=False)  # SHA-256 of the SubjectPublicKeyInfo
    private: bytes | None = field(default=None, repr=False)
    token: str | None = None
    issued: Issued | None = None
    csr: bytes | None = None
    retired: bool = False  # a key of the past, which only opens


@dataclass(frozen=True, slots=True)
class Identity:
    id: IdentityId
    account: AccountId
    address: Address  # the account's
    state: State
    kind: Kind
    public: bytes
    der: bytes | None
    chain: bytes  # DER certificates, one behind the other
    not_before: datetime | None
    not_after: datetime | None
    token: str | None
    csr: bytes | None
    added_by: str
    added: datetime
    changed: datetime
    fault: Fault | None = None  # why it can't be used, when it can't


_identity, _account, _alias = schema.identity.c, schema.account.c, schema.alias.c
_COLUMNS = (*schema.identity.columns, _account.address)
_ALL = sa.select(*_COLUMNS).join(schema.account, _account.id == _identity.account_id).order_by(_account.key, _identity.id)
_BY_ID = _ALL.where(_identity.id == sa.bindparam("wanted"))
_OF_ACCOUNT = _ALL.where(_identity.account_id == sa.bindparam("wanted"))
_BY_PUBLIC = _ALL.where(_identity.public == sa.bindparam("wanted"))
_BY_FINGERPRINT = _ALL.where(_identity.fingerprint == sa.bindparam("wanted"))
_OWNER = (
    sa.select(_account.id)
    .where(_account.key == sa.bindparam("key"))
    .union_all(sa.select(_alias.account_id).where(_alias.key == sa.bindparam("key")))
)
_OF_OWNER = _ALL.where(_account.id == sa.bindparam("wanted"), sa.or_(_identity.der.is_not(None), _identity.state != State.REQUESTED))
_ENDING = _ALL.where(_identity.state == State.ACTIVE, _identity.not_after < sa.bindparam("before"))
_SEALED = sa.select(_identity.sealed, _identity.public, _identity.account_id).where(_identity.id == sa.bindparam("wanted"))
_INSERT = sa.insert(schema.identity).returning(_identity.id)
_CHANGE = sa.update(schema.identity).where(_identity.id == sa.bindparam("number"))
_NOTICE = schema.notice.c


def add(tx: Transaction, owner: Account, new: NewIdentity, who: str) -> Identity:
    """Take in an identity, or a request. The domain's key is there (`Store.require_key`).

    Raises NotAllowed when the certificate is here already; a retired one of the same account is active again, and one that
    could not be used is replaced.
    """
    issued = new.issued
    known = _first(tx, _BY_FINGERPRINT, issued.fingerprint) if issued else None
    if known and (known.account != owner.id or (known.fault is None and (known.state is not State.RETIRED or new.retired))):
        raise NotAllowed(f"This certificate is identity {known.id} of {known.address} already", message=_known(known))
    if known and known.fault is None:
        return _set(tx, known, who, "reactivated", state=State.ACTIVE)
    row: dict[str, Any] = {
        "state": State.REQUESTED if issued is None else State.RETIRED if new.retired else State.ACTIVE,
        "kind": new.kind,
        "public": new.public,
        "fingerprint": issued.fingerprint if issued else None,
        "der": issued.der if issued else None,
        "chain": b"".join(issued.chain) if issued else b"",
        "not_before": issued.not_before if issued else None,
        "not_after": issued.not_after if issued else None,
        "sealed": tx.context.seal.seal(owner.address.domain, bound(owner.id, new.public), new.private) if new.private else None,
        "token": new.token,
        "csr": new.csr,
    }
    if known:
        return _set(tx, known, who, "mended", **row)
    row |= {"account_id": owner.id, "added_by": who, "added": tx.now, "changed": tx.now}
    number = tx.run(_INSERT, row).scalar_one()
    return _told(tx, by_number(tx, IdentityId(number)), who, "added" if issued else "requested")


def complete(tx: Transaction, request: Identity, issued: Issued, kind: Kind, who: str) -> Identity:
    """The certificate of a request has come. Raises NotAllowed: it is here already."""
    if known := _first(tx, _BY_FINGERPRINT, issued.fingerprint):
        raise NotAllowed(f"This certificate is identity {known.id} of {known.address} already", message=_known(known))
    return _set(
        tx,
        request,
        who,
        "added",
        state=State.ACTIVE,
        kind=kind,
        der=issued.der,
        fingerprint=issued.fingerprint,
        chain=b"".join(issued.chain),
        not_before=issued.not_before,
        not_after=issued.not_after,
    )


def retire(tx: Transaction, number: IdentityId, who: str) -> Identity:
    """It signs nothing any more; what was encrypted to it stays readable. Raises NotFound."""
    return _set(tx, by_number(tx, number), who, "retired", state=State.RETIRED)


def by_number(rx: Reader, number: IdentityId) -> Identity:
    """Raises NotFound."""
    found = _first(rx, _BY_ID, number)
    if found is None:
        raise NotFound(f"No identity {number}", message=message("identity.unknown", number=number))
    return found


def list_all(rx: Reader) -> list[Identity]:
    return [_of(rx, row) for row in rx.run(_ALL)]


def of_account(rx: Reader, owner: AccountId) -> list[Identity]:
    return [_of(rx, row) for row in rx.run(_OF_ACCOUNT, {"wanted": owner})]


def at_address(rx: Reader, key: str) -> list[Identity]:
    """Those with a certificate, and those without that should have one, of the account that has this address or alias (`Address.key`)."""
    owner = rx.raw(_OWNER, {"key": key})
    return [_of(rx, row) for row in rx.run(_OF_OWNER, {"wanted": owner[0][0]})] if owner else []


def of_key(rx: Reader, public: bytes) -> list[Identity]:
    """Those with this public key (SHA-256 of the SubjectPublicKeyInfo)."""
    return [_of(rx, row) for row in rx.run(_BY_PUBLIC, {"wanted": public})]


def ending(rx: Reader, before: datetime) -> list[Identity]:
    """The active ones whose certificate ends before that, also those that have ended."""
    return [_of(rx, row) for row in rx.run(_ENDING, {"before": before})]


def private(rx: Reader, number: IdentityId) -> bytes:
    """The private key, PKCS#8 in DER. Raises NotFound: there is none here; SealBroken."""
    row = rx.run(_SEALED, {"wanted": number}).first()
    if row is None or row.sealed is None:
        raise NotFound(f"No key for identity {number}")
    return opened(rx, row)


def _set(tx: Transaction, one: Identity, who: str, outcome: str, **values: Any) -> Identity:
    tx.run(_CHANGE.values(**values, changed=tx.now), {"number": one.id})
    return _told(tx, by_number(tx, one.id), who, outcome)


def _told(tx: Transaction, one: Identity, who: str, outcome: str) -> Identity:
    audit.add(
        tx,
        who,
        audit.Act.IDENTITY,
        outcome,
        recipient=one.address,
        identity=one.id,
        kind=one.kind,
        place="token" if one.token else "store",
        until=f"{one.not_after:%Y-%m-%d}" if one.not_after else None,
        public=one.public.hex(),
    )
    tx.ring(CHANGED)
    return one


def _known(one: Identity) -> Any:
    return message("identity.known", number=one.id, address=str(one.address))


def _first(rx: Reader, statement: Any, wanted: Any) -> Identity | None:
    row = rx.run(statement, {"wanted": wanted}).first()
    return None if row is None else _of(rx, row)


def _of(rx: Reader, row: Any) -> Identity:
    return Identity(
        IdentityId(row.id),
        AccountId(row.account_id),
        Address.parse(row.address),
        state_of(row),
        Kind(row.kind) if row.kind in tuple(Kind) else Kind.BOTH,
        row.public,
        row.der,
        row.chain,
        row.not_before,
        row.not_after,
        row.token,
        row.csr,
        row.added_by,
        row.added,
        row.changed,
        next(faults(rx, row), None),
    )


def notice_once(tx: Transaction, fingerprint: bytes, words: Sequence[str]) -> bool:
    """Record the first of `words`, and with it those that it includes; whether it was new.

    Of several workers, and after a restart, one alone is told that it is.
    """
    row = {"fingerprint": fingerprint, "at": tx.now}
    new = [tx.run(schema.insert_new(tx.dialect, schema.notice, _NOTICE.word), {**row, "word": word}).scalar() is not None for word in words]
    return bool(new) and new[0]


def was_noticed(rx: Reader, fingerprint: bytes, word: str) -> bool:
    """Whether that was told already."""
    return rx.run(sa.select(_NOTICE.at).where(_NOTICE.fingerprint == fingerprint, _NOTICE.word == word)).first() is not None
