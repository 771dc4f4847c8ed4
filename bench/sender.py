"""How fast the queue empties: the real store and sender against a TLS sink in another process.

    python bench/sender.py [-m MESSAGES] [-l OCTETS] [--connections N] [--concurrency N]

Prints messages a second from the first claim to the last record, and the CPU time of the sending process.
Accepting (SMTP in, signing, sealing) is not part of it: the queue is filled before.
"""

import argparse
import asyncio
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from mssgw import store as store_package
from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.clock import SystemClock
from mssgw.core.config import parse
from mssgw.core.envelope import Envelope, Origin, OriginKind, Recipient
from mssgw.flow.bounce import Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.sender import Sender
from mssgw.relay import outbound
from mssgw.store import queue
from mssgw.store.queue import NewQueued
from tests.configurations import alpha
from tests.smtp_peer import Pki

TABLES = """
[relay]
certificate = "client.pem"
key = "file:client.pem"
connections_per_operator = {connections}
[queue]
concurrency = {concurrency}
[[route]]
domain = "beta.mssante.test"
host = "127.0.0.1"
port = {port}
"""


class Sink(asyncio.Protocol):
    """Takes everything, keeps nothing."""

    def __init__(self, context):
        self.context, self.buffer, self.data = context, b"", False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, octets):
        self.buffer += octets
        while self.buffer:
            if self.data:
                if b"\r\n.\r\n" not in self.buffer:
                    return
                self.buffer = self.buffer.partition(b"\r\n.\r\n")[2]
                self.data = False
                self.transport.write(b"250 2.0.0 ok\r\n")
                continue
            line, end, rest = self.buffer.partition(b"\r\n")
            if not end:
                return
            self.buffer = rest
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.transport.write(b"250-sink\r\n250-PIPELINING\r\n250-SIZE 99999999\r\n250-8BITMIME\r\n250-DSN\r\n250 STARTTLS\r\n")
            elif verb == b"STAR":
                self.transport.write(b"220 go\r\n")
                self.task = asyncio.create_task(self.secure())
            elif verb == b"DATA":
                self.data = True
                self.transport.write(b"354 go\r\n")
            else:
                self.transport.write(b"250 2.0.0 ok\r\n")

    async def secure(self):
        self.transport = await asyncio.get_running_loop().start_tls(self.transport, self, self.context, server_side=True)


def sink(directory, port):
    async def serve():
        context = Pki.of(directory).server_context()
        server = await asyncio.get_running_loop().create_server(lambda: Sink(context), "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    uvloop.run(serve())


async def measure(directory, pki, port, options):
    clock = SystemClock()
    text = alpha(TABLES.format(port=port, connections=options.connections, concurrency=options.concurrency))
    config = parse(text, directory)
    store_package.migrate(config)
    store = await store_package.open(config, clock, worker="bench")
    line = b"La lettre de liaison du patient est jointe.\r\n"
    body = Body.of(b"From: a@alpha.mssante.test\r\n\r\n" + line * (options.length // len(line)))
    recipient = (Recipient(Address.parse("b@beta.mssante.test")),)
    envelope = Envelope(Address.parse("a@alpha.mssante.test"), recipient, Origin(OriginKind.SUBMISSION))
    prepared = await store.blobs.prepare(body, Domain("alpha.mssante.test"))
    for start in range(0, options.messages, 200):
        names = [f"T{number}" for number in range(start, min(options.messages, start + 200))]
        await store.write(lambda tx, names=names: [queue.add(tx, NewQueued(name, prepared, envelope)) for name in names])
    context = pki.client_context()
    carrier = outbound(config, clock, lambda: context, lambda domain, der: None)
    sender = Sender(config, store, clock, carrier, Reports(config, store, clock, LocalDelivery(config, store)), lambda domain: ())
    began, cpu = time.perf_counter(), time.process_time()
    task = asyncio.create_task(sender.run())
    while (await store.read(queue.count)).waiting:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()
    return took, used


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--messages", type=int, default=2000)
    parser.add_argument("-l", "--length", type=int, default=10240)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--concurrency", type=int, default=20)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp())
    (directory / "anchors").mkdir()
    (directory / "master.key").write_bytes(bytes(32))
    (directory / "master.key").chmod(0o600)
    pki = Pki(directory)
    port = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=sink, args=(directory, port), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.05)
    try:
        took, used = uvloop.run(measure(directory, pki, port.value, options))
    finally:
        process.terminate()
        shutil.rmtree(directory)
    sys.stdout.write(f"{options.messages / took:.0f} messages/s, {1000 * used / options.messages:.2f} ms CPU each, {took:.1f} s\n")


if __name__ == "__main__":
    main()
