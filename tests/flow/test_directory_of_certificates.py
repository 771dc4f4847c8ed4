"""Submission while the directory of recipients' certificates answers, is down, and comes back: decided before 250."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from mssgw.core.config.ldap import Ldap
from mssgw.flow.lookup import Learned, Lookup
from mssgw.flow.protection import Protection
from mssgw.flow.resources import Resources
from mssgw.flow.submission import Submission
from mssgw.smime.directories.files import CertificateFiles
from mssgw.smime.directories.ldap import LdapDirectory
from mssgw.smime.errors import DirectoryUnavailable, NoCertificate
from mssgw.store import queue
from tests.flow.conftest import HERE, client_of
from tests.flow.test_submission import content_of, queued, send
from tests.smime.fake_ldap import FakeLdap, fake_ldap, knows
from tests.smime.people import BOB, Authority


def protected(resources: Resources, directory: LdapDirectory | None, encrypt: str, files: CertificateFiles | None = None) -> Resources:
    domain = msgspec.structs.replace(resources.config.domain[0], encrypt=encrypt)
    config = msgspec.structs.replace(resources.config, domain=(domain,))
    authority = Authority()
    seal = {HERE: authority.issue("rsa", f"seal@{HERE}").identity}
    lookup = Lookup(files, Learned(resources.store), [directory] if directory else [])
    protection = Protection.of(config, resources.clock, authority.validate, seal, lookup=lookup)
    return replace(resources, config=config, protection=protection)


def directory(resources: FakeLdap, **given: object) -> LdapDirectory:
    return LdapDirectory(Ldap((f"ldap://127.0.0.1:{resources.port}",), "dc=x", starttls=False, **given))  # type: ignore[arg-type]


@pytest.mark.parametrize("encrypt", ["always", "when-possible"])
async def test_what_the_directory_knows_is_encrypted_to(resources, trust, people, encrypt) -> None:
    bob = Authority().issue("rsa", BOB, number=1)
    async with fake_ldap(knows({"userCertificate;binary": [bob.der]})) as server:
        known = directory(server)
        trace = await send(Submission(protected(resources, known, encrypt), trust), client_of(people.jeanne), BOB)
        (left,) = (await queued(resources.store, trace)).deliveries
        assert b"smime-type=enveloped-data" in await content_of(resources.store, left)
        known.close()


@pytest.mark.parametrize(("encrypt", "required"), [("always", True), ("always", False), ("when-possible", True)])
async def test_while_it_is_down_mail_waits(resources, trust, people, encrypt, required) -> None:
    async with fake_ldap(knows(None)) as server:
        pass
    flow = Submission(protected(resources, directory(server, required=required), encrypt), trust)
    with pytest.raises(DirectoryUnavailable) as refusal:
        await send(flow, client_of(people.jeanne), BOB)
    assert str(refusal.value.reply).startswith("451 4.4.3")
    assert not await resources.store.read(queue.list_all)


async def test_one_that_is_not_required_lets_mail_go_signed(resources, trust, people) -> None:
    async with fake_ldap(knows(None)) as server:
        pass
    flow = Submission(protected(resources, directory(server, required=False), "when-possible"), trust)
    (left,) = (await queued(resources.store, await send(flow, client_of(people.jeanne), BOB))).deliveries
    assert b"multipart/signed" in await content_of(resources.store, left)


async def test_an_address_it_does_not_know_is_a_clear_no(resources, trust, people) -> None:
    async with fake_ldap(knows(None)) as server:
        known = directory(server)
        with pytest.raises(NoCertificate, match=BOB):
            await send(Submission(protected(resources, known, "always"), trust), client_of(people.jeanne), BOB)
        known.close()


@pytest.mark.parametrize("encrypt", ["always", "when-possible"])
async def test_a_certificate_file_that_broke_makes_mail_wait(resources, trust, people, encrypt, tmp_path) -> None:
    """Regression: a missing directory and a file of garbage sent mail in clear under when-possible."""
    bob = Authority().issue("rsa", BOB, number=1)
    files = CertificateFiles(tmp_path / "recipients")
    flow = Submission(protected(resources, None, encrypt, files), trust)
    for content in (None, "garbage"):
        if content:
            (tmp_path / "recipients").mkdir()
            (tmp_path / "recipients" / "bob.pem").write_text(content)
        with pytest.raises(DirectoryUnavailable) as refusal:
            await send(flow, client_of(people.jeanne), BOB)
        assert str(refusal.value.reply).startswith("451 4.4.3")
        assert str(tmp_path / "recipients") in refusal.value.detail
        assert not await resources.store.read(queue.list_all)
    bob.write(tmp_path / "recipients", "bob")
    trace = await send(flow, client_of(people.jeanne), BOB)
    (left,) = (await queued(resources.store, trace)).deliveries
    assert b"smime-type=enveloped-data" in await content_of(resources.store, left)
