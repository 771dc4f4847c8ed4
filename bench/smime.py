"""S/MIME against its own primitives: shares, memory, hostile input. One run, one core.

    python bench/smime.py [--seconds 0.4] [--json]

A share is the time of the bare primitives (SHA-256 of the content and one private operation; AES of the content and n
public operations; one private operation and AES; SHA-256 and one public operation) divided by ours, both as CPU time of
this process in this run, alternating, best of five rounds each: load of the machine cancels out. The gateway row is
`protect` with its thread hop against the bare signature.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.body import BlobId, Body
from mssgw.smime.cms import decrypting, enveloped, recipients, verifying
from mssgw.smime.cms.signed import Signer
from mssgw.smime.cms.verifying import Hashing
from mssgw.smime.opening import open_now
from mssgw.smime.protecting import protect_now
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import AES256_CBC, AES256_GCM
from mssgw.smime.wire.ber import BerError, Stream
from tests.smime.letters import attachment
from tests.smime.people import ALICE, BOB, NOW, Authority

SMALL, LARGE = 50_000, 5_000_000
SECONDS = 0.4
Work = Callable[[], object]


def once(work: Work, seconds: float) -> float:
    """CPU seconds of one call, over about `seconds` of calls."""
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds or count < 2:
        work()
        count += 1
    return spent / count


def share(limit: Work, ours: Work) -> tuple[float, float]:
    """(share, seconds of ours): the two in turns, the best round of each."""
    rounds = [(once(limit, SECONDS / 5), once(ours, SECONDS / 5)) for _ in range(5)]
    best = min(one for one, _ in rounds), min(one for _, one in rounds)
    return best[0] / best[1], best[1]


class Bench:
    def __init__(self) -> None:
        self.authority = Authority()
        self.rows: list[dict[str, Any]] = []
        self.rsa = self.authority.issue("rsa", ALICE)
        self.p256 = self.authority.issue("p256", ALICE)
        self.readers = [self.authority.issue("rsa", f"r{n}@beta.mssante.test", number=10 + n) for n in range(10)]
        self.content = {size: os.urandom(size) for size in (SMALL, LARGE)}

    def row(self, name: str, goal: str, value: str, holds: bool, **more: Any) -> None:
        self.rows.append({"name": name, "goal": goal, "value": value, "holds": holds, **more})
        print(f"{'ok ' if holds else 'LOW'} {name:<58} {value:>22}   goal {goal}", flush=True)

    def compare(self, name: str, goal: float, limit: Work, ours: Work) -> None:
        found, seconds = share(limit, ours)
        self.row(name, f">= {goal:.0%}", f"{found:.0%} ({1 / seconds:,.0f}/s)", found >= goal, share=found, seconds=seconds)

    # --- the four operations

    def sign(self) -> None:
        for who, name, goals in ((self.rsa, "RSA-2048", (0.92, 0.90)), (self.p256, "P-256", (0.60, 0.90))):
            signer = Signer(who.identity)
            arguments = (padding.PKCS1v15(), hashes.SHA256()) if name.startswith("RSA") else (ec.ECDSA(hashes.SHA256()),)
            message = os.urandom(300)
            for size, goal in zip((SMALL, LARGE), goals, strict=True):
                content = self.content[size]

                def limit(content=content, who=who, arguments=arguments, message=message) -> None:
                    hashlib.sha256(content).digest()
                    who.key.sign(message, *arguments)

                self.compare(
                    f"sign {size // 1000} KB {name}",
                    goal,
                    limit,
                    lambda content=content, signer=signer: signer.sign(hashlib.sha256(content).digest(), NOW),
                )

    def verify(self) -> None:
        for who, name, goals in ((self.rsa, "RSA-2048", (0.60, 0.90)), (self.p256, "P-256", (0.60, 0.90))):
            signer, message = Signer(who.identity), os.urandom(300)
            arguments = (padding.PKCS1v15(), hashes.SHA256()) if name.startswith("RSA") else (ec.ECDSA(hashes.SHA256()),)
            signature, public = who.key.sign(message, *arguments), who.key.public_key()
            for size, goal in zip((SMALL, LARGE), goals, strict=True):
                content = self.content[size]
                cms = signer.sign(hashlib.sha256(content).digest(), NOW)

                def limit(content=content, public=public, signature=signature, arguments=arguments, message=message) -> None:
                    hashlib.sha256(content).digest()
                    public.verify(signature, message, *arguments)

                def ours(content=content, cms=cms) -> None:
                    found = verifying.parse_detached(cms)
                    hashing = Hashing(found.digest_identifiers)
                    hashing.update(content)
                    hashing.fill(found)
                    (check,) = verifying.signatures(found)
                    assert check.problem is None

                self.compare(f"verify {size // 1000} KB {name}, signer known", goal, limit, ours)

    def encrypt(self) -> None:
        for size, count, goal in ((SMALL, 1, 0.45), (SMALL, 10, 0.70), (LARGE, 1, 0.80)):
            content = self.content[size]
            to = [recipients.recipient(one.certificate, oaep=True) for one in self.readers[:count]]
            publics = [one.key.public_key() for one in self.readers[:count]]
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

            def limit(content=content, publics=publics, oaep=oaep) -> None:
                key = os.urandom(32)
                encryptor = Cipher(algorithms.AES(key), modes.GCM(os.urandom(12))).encryptor()
                encryptor.update(content)
                encryptor.finalize()
                for public in publics:
                    public.encrypt(key, oaep)

            def ours(content=content, to=to) -> None:
                out: list[bytes] = []
                enveloped.encrypt([content], len(content), to, AES256_GCM, out.append)

            self.compare(f"encrypt {size // 1000} KB AES-256-GCM, OAEP x{count}", goal, limit, ours)

    def decrypt(self) -> None:
        for cipher in (AES256_GCM, AES256_CBC):
            for size, goal in ((SMALL, 0.93), (LARGE, 0.90)):
                content, reader = self.content[size], self.readers[0]
                out: list[bytes] = []
                enveloped.encrypt([content], size, [recipients.recipient(reader.certificate, oaep=True)], cipher, out.append)
                cms = b"".join(out)
                oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
                wrapped = reader.key.public_key().encrypt(bytes(32), oaep)
                mode = (lambda: modes.GCM(bytes(12))) if cipher.authenticated else (lambda: modes.CBC(bytes(16)))

                def limit(content=content, reader=reader, oaep=oaep, wrapped=wrapped, mode=mode) -> None:
                    decryptor = Cipher(algorithms.AES(reader.key.decrypt(wrapped, oaep)), mode()).decryptor()
                    decryptor.update(content)

                def ours(cms=cms, identity=reader.identity) -> None:  # plaintext is let go of on both sides
                    decrypting.decrypt(lambda: Stream([cms]), [identity], lambda: len)

                self.compare(f"decrypt {size // 1000} KB RSA-2048 {cipher.name}", goal, limit, ours)

    # --- whole messages

    def whole(self) -> None:
        message, to = attachment(LARGE), (Address.parse(BOB),)
        bob = self.authority.issue("rsa", BOB, number=1)
        found = {to[0]: (smime.Candidate(bob.der, "file"),)}
        policy = smime.Policy(sign="never", encrypt="always", cipher="aes256-gcm", header_protection=False)
        sealing = smime.Policy(sign="always", encrypt="always", cipher="aes256-gcm")
        encrypted = min(once(lambda: protect_now(message, to, policy, NOW, None, found, self.authority.validate), 0.1) for _ in range(5))
        self.row("whole 5 MB message out, encrypted, base64 included", "<= 25 ms", f"{encrypted * 1e3:.1f} ms", encrypted <= 0.025)
        both = min(
            once(lambda: protect_now(message, to, sealing, NOW, self.rsa.identity, found, self.authority.validate), 0.1) for _ in range(5)
        )
        self.row("whole 5 MB message out, signed and encrypted", "(shown)", f"{both * 1e3:.1f} ms", True)

    def gateway(self) -> None:
        """`protect` as the flow calls it: signed and encrypted, thread hop included, against the bare signature."""
        message, to = attachment(SMALL), (Address.parse(BOB),)
        bob = self.authority.issue("rsa", BOB, number=1)
        policy = smime.Policy(sign="always", encrypt="always", cipher="aes256-gcm")
        valid: dict[bytes, Any] = {}
        signer = self.rsa.identity  # made once, as the gateway does

        def validate(octets: bytes, purpose: Any, at: Any) -> Any:  # trust caches; so does this
            return valid.get(octets) or valid.setdefault(octets, self.authority.validate(octets, purpose, at))

        async def lookup(_who: Address) -> list[smime.Candidate]:
            return [smime.Candidate(bob.der, "file")]

        async def many(count: int) -> None:
            for _ in range(count):
                await smime.protect(message, to, policy, NOW, signer=signer, lookup=lookup, validate=validate)

        bare = min(once(lambda: self.rsa.key.sign(b"x" * 300, padding.PKCS1v15(), hashes.SHA256()), SECONDS / 5) for _ in range(5))
        start = time.process_time()
        asyncio.run(many(300))
        ours = (time.process_time() - start) / 300
        found = bare / ours
        self.row("50 KB through protect(), signed and encrypted", ">= 60 % of bare RSA", f"{found:.0%} ({1 / ours:,.0f}/s)", found >= 0.6)

    def cores(self) -> None:
        """Throughput of RSA signatures over whole messages on two threads against one, by the wall clock."""
        cores = len(os.sched_getaffinity(0))
        signer, content = Signer(self.rsa.identity), self.content[SMALL]

        def some(count: int) -> None:
            for _ in range(count):
                signer.sign(hashlib.sha256(content).digest(), NOW)

        def timed(threads: int) -> float:
            with ThreadPoolExecutor(threads) as pool:
                start = time.perf_counter()
                list(pool.map(some, [1200 // threads] * threads))
                return time.perf_counter() - start

        found = max(timed(1) / timed(2) for _ in range(3))
        self.row(f"two threads against one ({cores} cores, wall clock)", ">= 1.8x", f"{found:.2f}x", found >= 1.8 or cores < 2)

    # --- memory

    def memory(self) -> None:
        """Extra memory of this process's own pages for 50 MB, measured in children so that each starts clean."""
        for what in ("out", "in"):
            extra = _child(what)
            self.row(f"50 MB {what}: extra memory", "<= 8 MiB", f"{extra / 1024:.1f} MiB", extra <= 8 * 1024)

    # --- hostile input

    def hostile(self) -> None:
        from tests.smime.forge import compressed, opaque

        def pieces() -> Any:
            yield b"\x24\x80"
            for _ in range(1000):
                yield b"\x04\x01a" * 1000
            yield b"\0\0"

        def drain() -> None:
            try:
                for _ in Stream(pieces()).octets():
                    pass
            except BerError:
                return

        bomb = opaque(compressed(bytes(1 << 30)))
        deep = opaque(b"\x30\x80" * 500_000)
        broad = opaque(b"\x30\x80" + oids.SIGNED_DATA + b"\xa0\x80\x30\x80\x02\x01\x01\x31\x80" + b"\x30\x00" * 500_000)
        cases: dict[str, Work] = {
            "10^6 pieces of one octet": drain,
            "nesting 500,000 levels, indefinite": lambda: open_now(deep, (), self.authority.validate, NOW),
            "500,000 digest algorithms": lambda: open_now(broad, (), self.authority.validate, NOW),
            "zlib bomb of 1 GiB": lambda: open_now(bomb, (), self.authority.validate, NOW),
        }
        for name, work in cases.items():
            before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            work()
            spent = time.process_time() - start
            grown = max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            self.row(f"hostile: {name}", "< 1 s, < 200 MB", f"{spent * 1e3:.0f} ms, +{grown:.0f} MB", spent < 1 and grown < 200)


def _own_pages() -> int:
    """kB of anonymous memory of this process: pages of mapped files are the kernel's cache, not ours."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


def _child(what: str) -> int:
    """Run one 50 MB operation in a child, watched by a thread; answers the extra kB at its peak."""
    import subprocess

    done = subprocess.run([sys.executable, __file__, "--child", what], check=True, capture_output=True, text=True)
    return int(done.stdout.strip().splitlines()[-1])


def _memory_of(what: str) -> int:
    import threading

    authority = Authority()
    alice, bob = authority.issue("rsa", ALICE), authority.issue("rsa", BOB, number=1)
    to, policy = (Address.parse(BOB),), smime.Policy(sign="always", encrypt="always", cipher="aes256-gcm")
    found = {to[0]: (smime.Candidate(bob.der, "file"),)}
    small = attachment(SMALL)
    (sent,) = protect_now(small, to, policy, NOW, alice.identity, found, authority.validate)  # imports and caches are not the message's
    open_now(sent.body, [bob.identity], authority.validate, NOW)
    with tempfile.TemporaryFile() as file:
        head = attachment(0).read().removesuffix(b"--frontier--\r\n")
        file.write(head)
        for _ in range(640):
            file.write((b"QUJD" * 19 + b"\r\n") * 1024)
        file.write(b"--frontier--\r\n")
        file.flush()
        message = Body(None, os.dup(file.fileno()), file.tell(), BlobId("0" * 64))
    if what == "in":
        (made,) = protect_now(message, to, policy, NOW, alice.identity, found, authority.validate)
        subject = made.body
    before, peak, stop = _own_pages(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.002):
            peak = max(peak, _own_pages())

    watcher = threading.Thread(target=watch)
    watcher.start()
    if what == "out":
        protect_now(message, to, policy, NOW, alice.identity, found, authority.validate)
    else:
        opened = open_now(subject, [bob.identity], authority.validate, NOW)
        stop.set()
        assert opened.verdict.valid, opened.verdict
    stop.set()
    watcher.join()
    return max(0, max(peak, _own_pages()) - before)


def main() -> int:
    global SECONDS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="CPU time for each side of a comparison")
    parser.add_argument("--json", action="store_true", help="the rows as one JSON document at the end")
    parser.add_argument("--only", help="one method of Bench")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(_memory_of(given.child))
        return 0
    SECONDS = given.seconds
    bench = Bench()
    cores = sorted(os.sched_getaffinity(0))
    for part in ("sign", "verify", "encrypt", "decrypt", "whole", "gateway", "memory", "hostile"):
        if given.only in (None, part):
            os.sched_setaffinity(0, cores[-1:])
            getattr(bench, part)()
    os.sched_setaffinity(0, cores)
    if given.only in (None, "cores"):
        bench.cores()
    if given.json:
        print(json.dumps(bench.rows))
    return 0 if all(one["holds"] for one in bench.rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
