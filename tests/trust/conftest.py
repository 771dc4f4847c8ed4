"""A PKI for all tests of an area (making keys is slow), and helpers that build a validator or a Trust on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mssgw.core.config.trust import Trust as Settings
from mssgw.demo.pki import Pki, listed_name
from mssgw.demo.whitelist import ListEntry, render, sign
from mssgw.pki.certificates import Certificate
from mssgw.trust import anchors, paths, revocation
from tests.conftest import TestClock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NONE = revocation.Rule("none")


class World:
    """One PKI, its usual certificates, made once."""

    def __init__(self):
        self.pki = Pki(now=NOW - timedelta(days=30))
        self.alpha = self.pki.operator("mx.alpha.mssante.test", o="CLINIQUE ALPHA", ou="318751275100020")
        self.gamma = self.pki.operator("mx.gamma.mssante.test", o="LABORATOIRE GAMMA", ou="344444444400014")
        self.signer = self.pki.list_signer()
        self.seal = self.pki.organisation("organisation@alpha.mssante.test")
        self.martin = self.pki.person("jeanne.martin@alpha.mssante.test", given="Jeanne", surname="Martin", identifier="801234567894")
        self.foreign_pki = Pki(now=self.pki.made, prefix="AUTRE")
        self.foreign = self.foreign_pki.operator("mx.gamma.mssante.test", o="LABORATOIRE GAMMA", ou="344444444400014")

    @property
    def anchors(self):
        return anchors.build([Certificate.read(each.public_bytes(_der())) for each in self.pki.anchors()])

    def entries(self):
        return [ListEntry("alpha.mssante.test", listed_name(self.alpha)), ListEntry("gamma.mssante.test", listed_name(self.gamma))]

    def signed(self, entries=None, at=NOW - timedelta(days=1), signer=None, **options):
        return sign(render(self.entries() if entries is None else entries, at), signer or self.signer, **options)


def _der():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture
def clock():
    return TestClock(NOW)


@pytest.fixture
def ledger(clock):
    return revocation.Ledger(clock)


@pytest.fixture
def validator(world, ledger, clock):
    """Judges without revocation."""
    return paths.Validator(world.anchors, ledger, clock, paths.Rules(NONE, NONE, NONE))


@pytest.fixture
def hard(world, ledger, clock):
    """Judges with revocation, as production does."""
    return paths.Validator(world.anchors, ledger, clock)


def settings(directory, url="http://127.0.0.1:9/list.xml", **changes):
    given = {
        "anchors": directory / "anchors",
        "pki": "private",
        "whitelist_url": url,
        "signer_common_names": ("alb.mssante.test",),
        "ocsp": False,
    }
    return Settings(**(given | changes))
