"""Domain keys: wrapped by the master key, each for its own domain, opened once."""

import os

import pytest
import sqlalchemy as sa

from mssgw import store as store_package
from mssgw.core.address import Domain
from mssgw.core.body import Body
from mssgw.core.errors import ConfigError
from mssgw.store import blobs, keys, rotation, schema
from mssgw.store.seal import MasterKey, MasterKeys, Seal, SealBroken, UnknownKey
from tests.store.messages import DOMAIN

KEY = schema.domain_key.c
MASTER, SECRET = bytes(range(32)), bytes(range(32, 64))


def test_a_wrapped_key_opens_with_its_master_key_for_its_domain_alone():
    wrapped = MasterKey(MASTER).wrap("alpha.test", SECRET)
    assert MasterKey(MASTER).unwrap("alpha.test", wrapped) == SECRET
    for master, domain, octets in (
        (bytes(32), "alpha.test", wrapped),
        (MASTER, "beta.test", wrapped),
        (MASTER, "alpha.test", wrapped[:-1]),
        (MASTER, "alpha.test", b""),
    ):
        with pytest.raises(SealBroken):
            MasterKey(master).unwrap(domain, octets)


def test_a_seal_opens_what_its_keys_have_sealed():
    seal, other = Seal(), Seal()
    seal.add(7, DOMAIN, SECRET)
    sealed = seal.seal(DOMAIN, b"purpose", b"data")
    assert seal.open(sealed, b"purpose") == b"data"
    with pytest.raises(UnknownKey):
        other.open(sealed, b"purpose")
    other.add(7, DOMAIN, MASTER)
    with pytest.raises(SealBroken):
        other.open(sealed, b"purpose")


@pytest.mark.parametrize("size", [50, 400_000])
async def test_content_whose_key_is_gone_is_broken_content(store, open_again, size):
    """It was an exception nobody caught: `mssgw check` ended in a traceback, and each large body left a file open."""
    prepared = await store.blobs.prepare(Body.of(bytes(size)), DOMAIN)
    content = await store.write(lambda tx: blobs.add(tx, prepared))
    await store.write(lambda tx: tx.run(sa.delete(schema.domain_key).where(KEY.domain == DOMAIN)))
    other = await open_again()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(SealBroken, match=r"sealed under key \d+, which this store does not have"):
            await other.blobs.read(content)
    assert len(os.listdir("/proc/self/fd")) == before
    assert [one.invariant for one in await other.check()] == ["content"]
    await store.write(lambda tx: tx.run(sa.delete(schema.content)))


async def test_the_key_row_of_one_domain_does_not_serve_another(store, config, clock):
    """Rows exchanged in the database are noticed when the store is opened, before anything is sealed."""
    for name in ("one.test", "two.test"):
        prepared = await store.blobs.prepare(Body.of(b"octets"), Domain(name))
        await store.write(lambda tx, prepared=prepared: blobs.add(tx, prepared))
    of_one = await store.read(lambda rx: rx.run(sa.select(KEY.wrapped).where(KEY.domain == "one.test")).scalar_one())
    await store.write(lambda tx: tx.run(sa.update(schema.domain_key).where(KEY.domain == "two.test").values(wrapped=of_one)))
    with pytest.raises(ConfigError, match="not the key that seals this store"):
        await store_package.open(config, clock, worker="second")


async def test_a_rotation_changes_every_row_or_none_on_each_engine(store, config, tmp_path):
    content = await store.blobs.prepare(Body.of(b"before"), DOMAIN)
    await store.write(lambda tx: blobs.add(tx, content))
    fresh = MasterKey(bytes(reversed(range(32))))
    old = MasterKeys(MasterKey(MASTER))
    store.take_keys(MasterKeys(MasterKey(SECRET), MasterKey(bytes(range(1, 33)))))
    with pytest.raises(ConfigError, match="former_key"):
        await store.write(lambda tx: rotation.rotate(tx, "test"))
    store.take_keys(MasterKeys(fresh, MasterKey(MASTER)))
    assert await store.write(lambda tx: rotation.rotate(tx, "test")) == 2
    assert await store.write(lambda tx: rotation.rotate(tx, "test")) == 0
    assert await store.write(lambda tx: rotation.retire(tx, "test")) == 2
    with pytest.raises(ConfigError):
        await store.read(lambda rx: keys.require_ours(rx, old))
    await store.read(lambda rx: keys.require_ours(rx, MasterKeys(fresh)))
