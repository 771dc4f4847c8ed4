"""Login: a user name and a password to an account, for SMTP and IMAP alike.

Order: throttle -> account -> password (the same work whether the account exists or not) -> status ->
audit -> the account. Failures are counted in three ways:

    by address and account name   the limit
    by account, from anywhere     the limit; not for an address from which it logged in rightly within a day
    by address, at any account    CROWD times the limit, for many people share the address of a hospital; not for
                                  accounts that logged in rightly from there within a day

So one user with a wrong password locks out nobody else behind the same address. Each worker has its own
counters. The reply never shows whether the account exists, is suspended or has no password.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from mssgw.core.address import Address, AddressError
from mssgw.core.clock import Clock
from mssgw.core.errors import Deferred, NoRoom, NotAllowed
from mssgw.core.failures import log_failure
from mssgw.flow.throttle import Throttle
from mssgw.identity.passwords import Passwords, wrong_password
from mssgw.observe import LOGINS, Event, log
from mssgw.store import Store, accounts, audit
from mssgw.store.accounts import Account, Status

TRUSTED_FOR = timedelta(days=1)
REMEMBERED = 20_000
CROWD = 10


class Login:
    def __init__(self, store: Store, passwords: Passwords, clock: Clock, failures: int) -> None:
        """`failures`: how many within five minutes, at one account, until it has to wait."""
        self._store, self._passwords, self._clock = store, passwords, clock
        self._pairs, self._accounts, self._peers = Throttle(clock, failures), Throttle(clock, failures), Throttle(clock, CROWD * failures)
        self._good: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    async def authenticate(self, username: str, password: str, *, protocol: str, peer: str) -> Account:
        """Raises NotAllowed (535 5.7.8), or Deferred (454 4.7.0) when throttled or when the store is busy."""
        try:
            address = Address.parse(username.strip())
        except AddressError:
            address = None
        key = address.key if address else "?"
        try:
            self._pairs.require(f"{peer} {key}")
            if not self._knows(key, peer):
                self._accounts.require(key)
                self._peers.require(peer)
        except Deferred:
            LOGINS.labels(protocol, "throttled").inc()
            log(Event.LOGIN_THROTTLED, "warning", protocol=protocol, peer=peer, who=key)
            raise
        account = None if address is None else await self._store.read(lambda rx: accounts.by_address(rx, address))
        try:
            await self._passwords.verify(account.password_hash if account else None, password)
            account = _require_active(account)
        except NotAllowed as refusal:
            await self._failed(refusal, account, key, protocol, peer)
            raise
        await self._succeeded(account, key, protocol, peer)
        return account

    async def _failed(self, refusal: NotAllowed, account: Account | None, key: str, protocol: str, peer: str) -> None:
        self._pairs.failed(f"{peer} {key}")
        self._accounts.failed(key)
        self._peers.failed(peer)
        LOGINS.labels(protocol, "failed").inc()
        log(Event.LOGIN_FAILED, "warning", protocol=protocol, peer=peer, who=key, reason=refusal.detail)
        # An unknown user name may be a password typed into the wrong field, so it is not kept; the work is the same.
        who = str(account.address) if account is not None else "unknown"
        await self._record(who, "refused", protocol=protocol, peer=peer, reason=refusal.detail)

    async def _succeeded(self, account: Account, key: str, protocol: str, peer: str) -> None:
        self._pairs.forget(
            f"{peer} {key}"
        )  # the address keeps its count, else one right password would allow any number of guesses at others
        self._good[key, peer] = self._clock.now()
        self._good.move_to_end((key, peer))
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)
        LOGINS.labels(protocol, "ok").inc()
        log(Event.LOGIN_OK, protocol=protocol, peer=peer, who=account.address)
        await self._record(str(account.address), "ok", protocol=protocol, peer=peer)

    async def _record(self, who: str, outcome: str, **facts: str) -> None:
        """Its row of the audit. Without room for one, the log alone has it: a full disk must not keep people from their mail."""
        try:
            await self._store.write(lambda tx: audit.add(tx, who, "login", outcome, **facts))
        except NoRoom as error:
            log_failure(error)

    def _knows(self, key: str, peer: str) -> bool:
        seen = self._good.get((key, peer))
        return seen is not None and seen > self._clock.now() - TRUSTED_FOR


def _require_active(account: Account | None) -> Account:
    if account is None:
        raise wrong_password(detail="no such account")
    if account.status is not Status.ACTIVE:
        raise wrong_password(detail="account is suspended")
    return account
