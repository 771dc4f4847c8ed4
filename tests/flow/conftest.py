"""The flows with the real store, and a trust space and an S/MIME engine that tests set."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pytest
from argon2 import PasswordHasher

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.config import Config
from mssgw.core.config.node import Limits
from mssgw.core.envelope import OperatorId, Recipient, TlsFacts
from mssgw.core.errors import NotTrusted
from mssgw.flow.protection import Protection
from mssgw.flow.resources import Resources
from mssgw.flow.transaction import Client
from mssgw.identity.passwords import Passwords
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.protocol.mail_data import MailData
from mssgw.store import Store, accounts
from mssgw.store.accounts import Account, Kind, NewAccount, Role, Status
from mssgw.trust.decisions import Step
from tests.conftest import TestClock

HERE = Domain("alpha.mssante.test")
THERE = Domain("beta.mssante.test")
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SECRET = "correct horse"


@dataclass(frozen=True)
class FakeOperator:
    id: OperatorId


@dataclass
class FakeTrust:
    """Domains and the certificates (any octets) that are listed for them."""

    listed: dict[Domain, bytes] = field(
        default_factory=lambda: {HERE: b"alpha", THERE: b"beta", Domain("group.beta.test"): b"beta", Domain("gamma.mssante.test"): b"gamma"}
    )

    def require_listed(self, domain: Domain, step: Step = Step.RCPT) -> tuple[FakeOperator, ...]:
        if domain not in self.listed:
            raise NotTrusted(f"Domain {domain} is not in the trust space", code=550, enhanced="5.1.2")
        return (FakeOperator(OperatorId(f"CN={self.listed[domain].decode()}")),)

    def require(self, domain: Domain, certificate: bytes | None, step: Step = Step.MAIL) -> FakeOperator:
        self.require_listed(domain)
        if self.listed[domain] != certificate:
            raise NotTrusted(f"This certificate is not listed for {domain}")
        return FakeOperator(OperatorId(f"CN={self.listed[domain].decode()}"))

    def require_any(self, certificate: bytes | None) -> FakeOperator:
        if certificate is None or certificate not in self.listed.values():
            raise NotTrusted("This certificate is not listed")
        return FakeOperator(OperatorId(f"CN={certificate.decode()}"))


def distrust(der: bytes, purpose: Purpose, at: datetime) -> Evidence:
    raise NotTrusted


@pytest.fixture
def trust() -> FakeTrust:
    return FakeTrust()


@pytest.fixture
def resources(sqlite_config: Config, sqlite_store: Store, clock: TestClock) -> Resources:
    return Resources.of(sqlite_config, sqlite_store, clock, Protection.of(sqlite_config, clock, distrust, {}))


@pytest.fixture
def passwords():
    made = Passwords(hasher=QUICK)
    yield made
    made.close()


@dataclass
class People:
    jeanne: Account
    cardiologie: Account
    paul: Account  # suspended
    admin: Account


@pytest.fixture
async def people(sqlite_store: Store) -> People:
    return await make_people(sqlite_store)


async def make_people(store: Store) -> People:
    def make(tx):
        def one(local: str, **more):
            return accounts.add(tx, NewAccount(Address(local, HERE), password_hash=QUICK.hash(SECRET), **more))

        jeanne, paul, admin = one("jeanne.martin"), one("paul.petit"), one("admin", role=Role.ADMIN)
        cardiologie = accounts.add(tx, NewAccount(Address("cardiologie", HERE), Kind.ORG))
        accounts.add_member(tx, cardiologie.id, jeanne.id)
        accounts.add_alias(tx, jeanne.id, Address("j.martin", HERE))
        accounts.set_status(tx, paul.id, Status.SUSPENDED)
        return People(jeanne, cardiologie, paul, admin)

    return await store.write(make)


def checked(content: bytes) -> MailData:
    return MailData.check(Body.of(content), Limits())


def rcpt(address: str) -> Recipient:
    return Recipient(Address.parse(address))


TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "ab" * 32)


def client_of(account: Account) -> Client:
    return Client("192.0.2.7", "pc.cabinet.local", "ESMTPSA", TLS, None, account)


def peer(certificate: bytes | None) -> Client:
    return Client("192.0.2.25", "mx.beta.mssante.test", "ESMTPS", TLS, certificate)
