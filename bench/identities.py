"""`python -m bench.identities [COUNT]`: what many identities cost, in files and in the store.

CPU of start, `config check` and reload; how long a reload holds the event loop; one look-up of a message's readers; the first
use of a key and the next ones. Twenty RSA keys are shared by all certificates: nothing here depends on which key it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from mssgw import store
from mssgw.core.address import Address
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config, load
from mssgw.flow.enrolment import Owner, from_files
from mssgw.flow.keyring import FileKeys, StoreKeys
from mssgw.node.services import own_certificates, persons
from mssgw.smime.directories.files import identity_problems, identity_remarks
from mssgw.smime.keys.certificates import certificate
from mssgw.store import Store, accounts, identities
from mssgw.store.accounts import NewAccount

DOMAIN, KEYS = "alpha.mssante.test", 20
_CONFIG = """
[node]
hostname = "mx.alpha.mssante.test"
data = "data"
[seal]
master_key = "file:master.key"
[trust]
anchors = "anchors"
[smime]
identities = "identities"
[[domain]]
name = "alpha.mssante.test"
"""


def address(number: int) -> Address:
    return Address.parse(f"personne.{number}@{DOMAIN}")


def issued(count: int) -> Iterator[tuple[int, x509.Certificate, rsa.RSAPrivateKey]]:
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(KEYS)]
    now, issuer = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    for number in range(count):
        key, subject = keys[number % KEYS], x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Personne {number}")])
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=900))
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(str(address(number)))]), critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        yield number, made, key


def write_files(directory: Path, count: int) -> None:
    for number, made, key in issued(count):
        (directory / f"{number}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (directory / f"{number}.key").write_bytes(private)


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


async def longest_hold(work: Awaitable[object]) -> float:
    """Seconds: the longest time in which the loop did nothing else while `work` ran."""
    worst, done = 0.0, asyncio.ensure_future(work)
    while not done.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began - 0.001)
    await done
    return worst


async def fill(opened: Store, count: int) -> None:
    """Twenty identities at a time. The check of a key is what `mssgw identity add` costs; here it is done for the first ones alone."""
    await opened.require_key(address(0).domain)
    for number, made, key in issued(count):
        own = certificate(made.public_bytes(serialization.Encoding.DER))

        def add(tx: store.Transaction, number: int = number, own: object = own, key: object = key) -> None:
            account = accounts.add(tx, NewAccount(address(number)))
            new = from_files(Owner.of(tx, account), [own], [key], datetime.now(UTC), kind=None, retired=False)
            identities.add(tx, account, new, "bench")

        await opened.write(add)


async def in_store(config: Config, count: int) -> None:
    store.migrate(config)
    opened = await store.open(config, SystemClock(), worker="bench")
    try:
        await fill(opened, count)
        began = time.process_time()
        keys = StoreKeys(opened, config.smime)
        print(f"| store: start, reload | {time.process_time() - began:.4f} s of CPU |")
        for name in ("first", "next"):
            began = time.perf_counter()
            for number in range(200):
                await keys.at((address(number).key,))
            print(f"| store: look-up of a message's readers, {name} time | {(time.perf_counter() - began) * 5:.3f} ms |")
        began = time.process_time()
        hold = await longest_hold(opened.read(identities.list_all))
        print(f"| store: all of them, for `list` and the watch | {time.process_time() - began:.2f} s of CPU |")
        print(f"| store: the loop was held at most meanwhile | {hold * 1000:.1f} ms |")
        began = time.process_time()
        problems = await opened.check(deep=False)
        print(f"| store: `mssgw check --shallow`, {len(problems)} problems | {time.process_time() - began:.2f} s of CPU |")
        (held,) = (await keys.at((address(0).key,))).held
        for name in ("first", "next"):
            began = time.perf_counter()
            with contextlib.suppress(Exception):  # refused as a ciphertext; what counts is that the key was loaded
                await asyncio.to_thread(held.identity.key.decrypt, bytes(256), None)
            print(f"| store: private key, {name} use | {(time.perf_counter() - began) * 1000:.2f} ms |")
        keys.close()
    finally:
        await opened.close()


async def in_files(config: Config) -> None:
    directory, now = config.smime.identities, SystemClock().now()
    assert directory is not None
    checked = cpu(lambda: (identity_problems(directory, now), identity_remarks(directory)))
    loaded = cpu(lambda: own_certificates(config, {}, persons(config, now), SystemClock()) and FileKeys(persons(config, now)))
    print(f"| files: config check | {checked:.2f} s of CPU |\n| files: start (check and one worker) | {checked + loaded:.2f} s of CPU |")

    async def reload() -> FileKeys:
        await asyncio.to_thread(identity_problems, directory, now)
        return await asyncio.to_thread(lambda: FileKeys(persons(config, now)))

    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # as a worker has it (`node.worker`): else one collection of everything holds the loop longest
    began = time.process_time()
    held = await longest_hold(reload())
    print(f"| files: reload | {time.process_time() - began:.2f} s of CPU |\n| files: the loop was held at most | {held * 1000:.1f} ms |")
    keys, began = await reload(), time.perf_counter()
    for number in range(1000):
        await keys.at((address(number).key,))
    print(f"| files: look-up of a message's readers | {time.perf_counter() - began:.4f} ms |")


def run(count: int = 2000) -> None:
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        home = Path(name)
        (home / "mssgw.toml").write_text(_CONFIG)
        (home / "master.key").write_bytes(bytes(range(32)))
        for each in ("anchors", "identities"):
            (home / each).mkdir()
        config = load(home / "mssgw.toml")
        write_files(home / "identities", count)
        print(f"\n| {count:,} identities | |\n|---|---|")
        asyncio.run(in_files(config))
        asyncio.run(in_store(config, min(count, 2000)))


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
