"""Where recipients' certificates come from, in which order, and what a directory that is down changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mssgw.core.address import Address
from mssgw.core.config.ldap import Ldap
from mssgw.flow.lookup import Learned, Lookup
from mssgw.smime.cms import capabilities
from mssgw.smime.directories.files import CertificateFiles
from mssgw.smime.directories.ldap import LdapDirectory
from mssgw.store import certificates
from tests.smime.fake_ldap import fake_ldap, knows
from tests.smime.people import BOB, DAY, NOW, Authority
from tests.smime.test_ldap import smime_certificate

WHO = Address.parse(BOB)


async def test_files_then_mail_then_directories(store, tmp_path: Path) -> None:
    authority = Authority()
    filed, older, newer, listed = (authority.issue("rsa", BOB, number=1, end=NOW + days * DAY) for days in (10, 20, 30, 40))
    filed.write(tmp_path, "bob")
    for days, one in ((1, older), (2, newer)):
        await store.write(lambda tx, one=one, days=days: certificates.add(tx, WHO, one.der, "mail", NOW + timedelta(days)))
    async with fake_ldap(knows({"userSMIMECertificate": [smime_certificate(listed)]})) as house:
        directory = LdapDirectory(Ldap((f"ldap://127.0.0.1:{house.port}",), "dc=x", starttls=False))
        lookup = Lookup(CertificateFiles(tmp_path), Learned(store), [directory])
        found = await lookup(WHO)
        assert [one.certificate for one in found] == [filed.der, newer.der, older.der, listed.der]
        assert [one.source for one in found] == ["file", "mail", "mail", "ldap"]
        assert capabilities.stated(found[-1].capabilities) == capabilities.MODERN
        said = capabilities.own(authority.issue("p256").certificate)
        await store.write(lambda tx: certificates.set_capabilities(tx, WHO, said, NOW))
        assert {one.capabilities for one in await lookup(WHO)} == {said}  # the capabilities in their last valid mail come first
        directory.close()


async def test_a_directory_that_is_down_stands_last(store) -> None:
    bob = Authority().issue("rsa", BOB, number=1)
    async with fake_ldap(knows(None)) as gone:
        pass
    directory = LdapDirectory(Ldap((f"ldap://127.0.0.1:{gone.port}",), "dc=x", starttls=False))
    await store.write(lambda tx: certificates.add(tx, WHO, bob.der, "mail", NOW))
    known, unknown = await Lookup(None, Learned(store), [directory])(WHO)
    assert known.certificate == bob.der
    assert unknown.unknown
    assert unknown.unknown.reply.enhanced == "4.4.3"


async def test_what_another_worker_learns_is_found(store, open_again):
    other = await open_again()
    learned = Learned(store)
    assert await learned.about(WHO) == ([], None)
    with store.doorbell.subscribe(certificates.CHANGED) as bell:
        await other.write(lambda tx: certificates.add(tx, WHO, b"der", "mail", tx.now))
        assert await bell.wait(10)
    (known,), _ = await learned.about(WHO)
    assert known.der == b"der"
    learned.close()


async def test_an_answer_older_than_the_news_is_not_remembered(store):
    learned = Learned(store)
    read = store.read

    async def slow(function):
        found = await read(function)
        await store.write(lambda tx: certificates.add(tx, WHO, b"der", "mail", tx.now))  # between the reading and the answer
        store.read = read
        return found

    store.read = slow
    assert await learned.about(WHO) == ([], None)
    (known,), _ = await learned.about(WHO)
    assert known.der == b"der"
    learned.close()
