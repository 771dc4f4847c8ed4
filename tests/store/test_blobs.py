"""Content at rest: sealed, whole, small in the database and large as files; what was changed doesn't open."""

import asyncio
import os
import time

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw import store as store_package
from mssgw.core.address import Domain
from mssgw.core.body import Body, BodyWriter
from mssgw.core.errors import ConfigError, Deferred
from mssgw.store import blobs, schema
from mssgw.store.blobs import INLINE
from mssgw.store.seal import CHUNK, Seal, SealBroken, UnknownKey
from tests.conftest import make_config
from tests.fuzz import examples
from tests.store.messages import DOMAIN, fill, new_inbox, new_message

PATTERN = bytes(range(251))


def body_of(size):
    return Body.of((PATTERN * (size // 251 + 1))[:size])


async def put(store, body, domain=DOMAIN):
    prepared = await store.blobs.prepare(body, domain)
    return await store.write(lambda tx: blobs.add(tx, prepared))


@pytest.mark.parametrize("size", [0, 1, INLINE - 1, INLINE, INLINE + 1, INLINE + CHUNK, INLINE + CHUNK + 1, 1_000_000])
async def test_what_goes_in_comes_out(store, size):
    body = body_of(size)
    content = await put(store, body)
    with await store.blobs.read(content) as found:
        assert found.read() == body.read()
        assert (found.blob, found.size) == (body.blob, size)
        assert b"".join(found.chunks(10_000)) == body.read()
        with found.open() as file:
            assert file.read(1000) == body.read(0, 1000)
            file.seek(size // 2)
            assert file.read() == body.read(size // 2)
        assert found.read(size - 10 if size > 10 else 0, 100) == body.read(size - 10 if size > 10 else 0, 100)


async def test_large_bodies_from_a_spool(sqlite_store):
    writer = BodyWriter()
    for _ in range(40):
        writer.write(PATTERN * 1000)
    with writer.finish() as body:
        content = await put(sqlite_store, body)
        with await sqlite_store.blobs.read(content) as found:
            assert not found.in_memory
            assert found.read(5_000_000, 300) == body.read(5_000_000, 300)


async def test_nothing_lies_in_the_clear(store, config):
    box = await new_inbox(store)
    secret = b"TRESSECRET" * 20
    for size in (1000, 400_000):
        data = b"Subject: x\r\n\r\n" + secret + b"." * size
        from tests.store.messages import describe

        described = describe(data)
        described = type(described)(secret, secret, secret, described.header_size)
        prepared = await store.blobs.prepare(Body.of(data), DOMAIN, described)
        await store.write(
            lambda tx, prepared=prepared: store_package.mailboxes.append(tx, box, store_package.mailboxes.NewMessage(prepared))
        )
    await store.write(lambda tx: tx.connection.exec_driver_sql("SELECT 1"))
    found = b"".join(path.read_bytes() for path in config.node.data.rglob("*") if path.is_file())
    assert secret[:10] not in found
    rows = await store.read(lambda rx: rx.run(sa.select(schema.summary)).all())
    assert rows
    assert all(secret[:10] not in bytes(value) for row in rows for value in row[1:])


async def test_files_are_private(sqlite_store, sqlite_config):
    await put(sqlite_store, body_of(400_000))
    for path in (sqlite_config.node.data / "blobs").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def _file_of(store, content):
    row = await store.read(lambda rx: rx.run(sa.select(schema.content.c.file).where(schema.content.c.id == content)).one())
    return store.blobs.directory / row.file


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "header", "append-chunk"])
async def test_a_harmed_file_does_not_open(sqlite_store, harm):
    content = await put(sqlite_store, body_of(8 * CHUNK))
    path = await _file_of(sqlite_store, content)
    whole = path.read_bytes()
    data = bytearray(whole)
    start, chunk = 37, CHUNK + 16
    if harm == "flip":
        data[start + 100] ^= 1
    elif harm == "cut":
        del data[start + 2 * chunk :]
    elif harm == "swap":
        data[start : start + 2 * chunk] = data[start + chunk : start + 2 * chunk] + data[start : start + chunk]
    elif harm == "header":
        data[0] = 9
    else:
        data[start + 3 * chunk :] = data[start : start + chunk]
    path.write_bytes(data)
    assert any(str(content) in problem.where for problem in await sqlite_store.check())
    with pytest.raises(SealBroken):
        (await sqlite_store.blobs.read(content)).read()
    path.write_bytes(whole)


async def test_a_missing_file_is_deferred_and_found_by_check(sqlite_store):
    content = await put(sqlite_store, body_of(400_000))
    path = await _file_of(sqlite_store, content)
    path.rename(path.with_suffix(".away"))
    with pytest.raises(Deferred):
        await sqlite_store.blobs.read(content)
    assert [problem.invariant for problem in await sqlite_store.check(deep=False)] == ["blob file"]
    path.with_suffix(".away").rename(path)


async def test_rows_cant_be_exchanged(sqlite_store):
    """Who can write to the database can't show one patient's letter as another's."""
    first, second = await put(sqlite_store, body_of(100)), await put(sqlite_store, body_of(101))
    table = schema.content

    def swap(tx):
        rows = {row.id: row.sealed for row in tx.run(sa.select(table.c.id, table.c.sealed))}
        tx.run(sa.update(table).where(table.c.id == first), {"sealed": rows[second]})
        tx.run(sa.update(table).where(table.c.id == second), {"sealed": rows[first]})

    await sqlite_store.write(swap)
    with pytest.raises(SealBroken):
        await sqlite_store.blobs.read(first)
    await sqlite_store.write(swap)


async def test_no_room_is_452_before_anything_is_written(tmp_path, sqlite_config, clock):
    config = make_config(tmp_path, more=f"[limits]\nfree_disk = {2**62}\n")
    store = await store_package.open(config, clock, worker="w")
    for size in (10, 400_000):
        with pytest.raises(Deferred) as caught:
            await store.blobs.prepare(body_of(size), DOMAIN)
        assert (caught.value.reply.code, caught.value.reply.enhanced) == (452, "4.3.1")
    await store.close()


async def test_a_disk_that_fills_while_writing_leaves_nothing(sqlite_store, monkeypatch):
    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mssgw.store.blobs.os.fsync", full)
    with pytest.raises(Deferred) as caught:
        await sqlite_store.blobs.prepare(body_of(400_000), DOMAIN)
    assert caught.value.reply.code == 452
    assert not list((sqlite_store.blobs.directory / "tmp").iterdir())


async def test_every_domain_has_its_key(store, open_again):
    other = await open_again()
    content = await put(store, body_of(50), Domain("beta.mssante.test"))
    assert (await other.blobs.read(content)).size == 50  # a key made after the other worker had opened
    with pytest.raises(UnknownKey):
        Seal().open(b"\1" + bytes(40), b"")


async def test_the_same_domain_key_for_all_workers(store, open_again):
    other = await open_again()
    contents = await asyncio.gather(*(put(one, body_of(number), Domain("new.test")) for number, one in enumerate((store, other) * 4)))
    keys = await store.read(lambda rx: rx.run(sa.select(schema.domain_key.c.domain)).scalars().all())
    assert sorted(keys) == ["", "new.test"]
    assert len(set(contents)) == 8


async def test_a_wrong_master_key_is_refused_at_open(config, clock):
    await (await store_package.open(config, clock, worker="w")).close()
    config.seal.master_key.path.write_bytes(bytes(32))
    with pytest.raises(ConfigError, match="not the key that seals this store"):
        await store_package.open(config, clock, worker="w")


@pytest.mark.parametrize("octets", [b"", b"short", bytes(33)])
async def test_a_master_key_has_32_octets(sqlite_config, clock, octets):
    sqlite_config.seal.master_key.path.write_bytes(octets)
    with pytest.raises(ConfigError, match="expected 32 octets"):
        await store_package.open(sqlite_config, clock, worker="w")


async def test_a_missing_master_key_is_refused(sqlite_config, clock):
    sqlite_config.seal.master_key.path.unlink()
    with pytest.raises(ConfigError, match="there is no such file"):
        await store_package.open(sqlite_config, clock, worker="w")


# -- sweep -----------------------------------------------------------------------------------------------


async def test_sweep_removes_what_nothing_refers_to(store, clock):
    box = await new_inbox(store)
    await fill(store, box, 2)
    large = await new_message(store, 9, size=400_000)
    uid = await store.write(lambda tx: store_package.mailboxes.append(tx, box, large))
    assert (await store.sweep()).contents == 0
    await store.write(lambda tx: store_package.mailboxes.remove(tx, box, [1, uid]))
    assert (await store.sweep()).contents == 0  # a day has not passed
    clock.advance(days=2)
    path = next(path for path in store.blobs.directory.glob("*/*") if path.parent.name != "tmp")
    old = clock.now().timestamp() - 10 * 86400 * 365
    os.utime(path, (old, old))
    swept = await store.sweep()
    assert (swept.contents, swept.files) == (2, 1)
    assert not path.exists()
    (row,) = await store.read(lambda rx: store_package.mailboxes.rows(rx, box, None))
    assert (await store.blobs.read(row.content)).size == row.size


async def test_sweep_leaves_a_young_file_without_a_row(store):
    prepared = await store.blobs.prepare(body_of(400_000), DOMAIN)
    young = time.time()  # the kernel's time is another one under `make calendar`
    for path in store.blobs.directory.glob("*/*"):
        os.utime(path, (young, young))
    assert (await store.sweep()).files == 0
    content = await store.write(lambda tx: blobs.add(tx, prepared))
    assert (await store.blobs.read(content)).size == 400_000


async def test_what_was_swept_can_come_again(store, clock):
    first = await put(store, body_of(70))
    clock.advance(days=2)
    assert (await store.sweep()).contents == 1
    with pytest.raises(Deferred):
        await store.blobs.read(first)
    assert (await store.blobs.read(await put(store, body_of(70)))).size == 70


# -- the cipher ------------------------------------------------------------------------------------------


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=300))
def test_garbage_never_opens(sealed, purpose):
    seal = Seal()
    with pytest.raises((SealBroken, UnknownKey)):
        seal.open(sealed, purpose)
    with pytest.raises((SealBroken, UnknownKey)):
        seal.open_file(sealed[:37], purpose)


async def test_sweeping_beside_workers_never_takes_what_is_used(store, open_again, clock):
    """The same contents come and go while another worker sweeps; whoever has one can read it."""
    other, box = await open_again(), await new_inbox(store)
    messages = [await new_message(store, number) for number in range(4)]

    async def use():
        for _ in range(15):
            uids = await store.write(lambda tx: store_package.mailboxes.append_many(tx, box, messages))
            await store.write(lambda tx, uids=uids: store_package.mailboxes.remove(tx, box, uids))

    async def sweep():
        for _ in range(15):
            clock.advance(days=2)
            await other.sweep()

    await asyncio.gather(use(), sweep())
    await store.write(lambda tx: store_package.mailboxes.append_many(tx, box, messages))
    rows = await store.read(lambda rx: store_package.mailboxes.rows(rx, box, None))
    assert len(await store.blobs.read_many([row.content for row in rows])) == 4


async def test_one_worker_sweeps_once_a_day(store, open_again, clock):
    other = await open_again()
    box = await new_inbox(store)
    await fill(store, box, 1)
    await store.write(lambda tx: store_package.mailboxes.remove(tx, box, [1]))
    tasks = [asyncio.ensure_future(one.keep_swept()) for one in (store, other)]

    async def left():
        return await store.read(lambda rx: rx.run(sa.select(sa.func.count()).select_from(schema.content)).scalar())

    while await store.read(lambda rx: store_package.facts.get(rx, "store.swept")) is None or len(clock._sleepers) < 2:
        await store.write(lambda tx: None)
    assert await left() == 1
    clock.advance(hours=25)
    while await left():
        await store.write(lambda tx: None)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
