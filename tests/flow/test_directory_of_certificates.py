"""Submission while the directory of recipients' certificates answers, is down, and comes back: decided before 250."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from mssgw.core.config.ldap import Ldap
from mssgw.flow.house import House
from mssgw.flow.lookup import Learned, Lookup
from mssgw.flow.protection import Protection
from mssgw.flow.submission import Submission
from mssgw.smime.directories.files import CertificateFiles
from mssgw.smime.directories.ldap import LdapDirectory
from mssgw.smime.errors import DirectoryUnavailable, NoCertificate
from mssgw.store import queue
from tests.flow.conftest import HERE, client_of
from tests.flow.test_submission import content_of, queued, send
from tests.smime.fake_ldap import FakeLdap, fake_ldap, knows
from tests.smime.people import BOB, Authority


def protected(house: House, directory: LdapDirectory | None, encrypt: str, files: CertificateFiles | None = None) -> House:
    domain = msgspec.structs.replace(house.config.domain[0], encrypt=encrypt)
    config = msgspec.structs.replace(house.config, domain=(domain,))
    authority = Authority()
    seal = {HERE: authority.issue("rsa", f"seal@{HERE}").identity}
    lookup = Lookup(files, Learned(house.store), [directory] if directory else [])
    protection = Protection.of(config, house.clock, authority.validate, seal, lookup=lookup)
    return replace(house, config=config, protection=protection)


def directory(house: FakeLdap, **given: object) -> LdapDirectory:
    return LdapDirectory(Ldap((f"ldap://127.0.0.1:{house.port}",), "dc=x", starttls=False, **given))  # type: ignore[arg-type]


@pytest.mark.parametrize("encrypt", ["always", "when-possible"])
async def test_what_the_directory_knows_is_encrypted_to(house, trust, people, encrypt) -> None:
    bob = Authority().issue("rsa", BOB, number=1)
    async with fake_ldap(knows({"userCertificate;binary": [bob.der]})) as server:
        known = directory(server)
        trace = await send(Submission(protected(house, known, encrypt), trust), client_of(people.jeanne), BOB)
        (left,) = (await queued(house.store, trace)).deliveries
        assert b"smime-type=enveloped-data" in await content_of(house.store, left)
        known.close()


@pytest.mark.parametrize(("encrypt", "required"), [("always", True), ("always", False), ("when-possible", True)])
async def test_while_it_is_down_mail_waits(house, trust, people, encrypt, required) -> None:
    async with fake_ldap(knows(None)) as server:
        pass
    flow = Submission(protected(house, directory(server, required=required), encrypt), trust)
    with pytest.raises(DirectoryUnavailable) as refusal:
        await send(flow, client_of(people.jeanne), BOB)
    assert str(refusal.value.reply).startswith("451 4.4.3")
    assert not await house.store.read(queue.list_all)


async def test_one_that_is_not_required_lets_mail_go_signed(house, trust, people) -> None:
    async with fake_ldap(knows(None)) as server:
        pass
    flow = Submission(protected(house, directory(server, required=False), "when-possible"), trust)
    (left,) = (await queued(house.store, await send(flow, client_of(people.jeanne), BOB))).deliveries
    assert b"multipart/signed" in await content_of(house.store, left)


async def test_an_address_it_does_not_know_is_a_clear_no(house, trust, people) -> None:
    async with fake_ldap(knows(None)) as server:
        known = directory(server)
        with pytest.raises(NoCertificate, match=BOB):
            await send(Submission(protected(house, known, "always"), trust), client_of(people.jeanne), BOB)
        known.close()


@pytest.mark.parametrize("encrypt", ["always", "when-possible"])
async def test_a_certificate_file_that_broke_makes_mail_wait(house, trust, people, encrypt, tmp_path) -> None:
    """Regression: a missing directory and a file of garbage sent mail in clear under when-possible."""
    bob = Authority().issue("rsa", BOB, number=1)
    files = CertificateFiles(tmp_path / "recipients")
    flow = Submission(protected(house, None, encrypt, files), trust)
    for content in (None, "garbage"):
        if content:
            (tmp_path / "recipients").mkdir()
            (tmp_path / "recipients" / "bob.pem").write_text(content)
        with pytest.raises(DirectoryUnavailable) as refusal:
            await send(flow, client_of(people.jeanne), BOB)
        assert str(refusal.value.reply).startswith("451 4.4.3")
        assert str(tmp_path / "recipients") in refusal.value.detail
        assert not await house.store.read(queue.list_all)
    bob.write(tmp_path / "recipients", "bob")
    trace = await send(flow, client_of(people.jeanne), BOB)
    (left,) = (await queued(house.store, trace)).deliveries
    assert b"smime-type=enveloped-data" in await content_of(house.store, left)
