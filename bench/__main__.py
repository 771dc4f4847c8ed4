"""`make bench`: identities, SMTP beside Postfix, IMAP beside Dovecot, in one sitting. Prints the table of bench/README.md.

Medians of `--rounds` rounds; what isn't installed is left out. `--quick` is for trying the harness, not for numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import identities, imap, smtp
from bench.ours import Node, house
from bench.theirs import dovecot, postfix

BASE = 38_000


def median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def smtp_cells(port: int, ca: str, sender: str, recipient: str, rounds: int, messages: int) -> Iterator[tuple[str, dict[str, float]]]:
    context = smtp.trusting(ca)
    for name, options in (
        ("10 kB, connection per message", {"keep": False, "messages": messages // 2}),
        ("10 kB, keep", {"keep": True, "messages": messages}),
        ("10 kB, pipelined, keep", {"keep": True, "pipeline": True, "messages": messages}),
        ("1 MB, keep", {"keep": True, "size": 1_000_000, "messages": max(20, messages // 25)}),
        ("10 kB, STARTTLS, keep", {"keep": True, "starttls": context, "messages": messages}),
        ("1 MB, STARTTLS, keep", {"keep": True, "size": 1_000_000, "starttls": context, "messages": max(20, messages // 25)}),
    ):
        results = [asyncio.run(smtp.run(smtp.Load(port, sender, recipient, **options))) for _ in range(rounds)]
        yield name, median(results)


def print_smtp(title: str, cells: Iterator[tuple[str, dict[str, float]]]) -> None:
    for name, cell in cells:
        figures = " | ".join(f"{cell[key]:,.{digits}f}" for key, digits in (("rate", 0), ("mb", 0), ("p50", 1), ("p99", 1), ("errors", 0)))
        print(f"| {title} | {name} | {figures} |", flush=True)


def print_imap(title: str, result: dict[str, float]) -> None:
    print(f"| {title} | " + " | ".join(f"{value:,.3f}" if value < 10 else f"{value:,.0f}" for value in result.values()) + " |", flush=True)


def run_smtp(node: Node, home: Path, rounds: int, messages: int) -> None:
    print("\n| server | load | msg/s | MB/s | p50 ms | p99 ms | errors |\n|---|---|---|---|---|---|---|")
    print_smtp("mssgw", smtp_cells(node.ports["hospital"], node.ca, node.user, "admin@alpha.mssante.test", rounds, messages))
    if shutil.which("postfix"):
        certificate, key = node.directory / "pki/alpha.pem", node.directory / "pki/alpha.key"
        with postfix(home / "postfix", BASE + 60, certificate, key):
            print_smtp("Postfix, discard", smtp_cells(BASE + 60, node.ca, node.user, "admin@alpha.mssante.test", rounds, messages))


def run_imap(node: Node, home: Path, count: int) -> None:
    context = smtp.trusting(node.ca)
    ours = asyncio.run(imap.run(node.ports["imaps"], node.user, node.password, context, count))
    print(f"\nIMAP over TLS, {count:,} messages; seconds, but for the /s columns and push (ms)\n")
    print("| server | " + " | ".join(ours) + " |\n|---" + "|---" * len(ours) + "|")
    print_imap("mssgw", ours)
    for port, form in ((BASE + 61, "maildir"), (BASE + 62, "mdbox")):
        if shutil.which("dovecot"):
            certificate, key = node.directory / "pki/alpha.pem", node.directory / "pki/alpha.key"
            with dovecot(home / form, port, certificate, key, node.password, form):
                print_imap(f"Dovecot, {form}", asyncio.run(imap.run(port, "u1", node.password, context, count)))


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--messages", type=int, default=3000)
    options.add_argument("--mailbox", type=int, default=10_000)
    options.add_argument("--only", choices=["smtp", "imap", "identities"])
    options.add_argument("--quick", action="store_true")
    given = options.parse_args()
    rounds, messages, count = (1, 300, 500) if given.quick else (given.rounds, given.messages, given.mailbox)
    if given.only in (None, "identities"):
        identities.run(200 if given.quick else 2000)
    if given.only == "identities":
        return
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench")))
        home.chmod(0o755)  # Postfix works there as another user
        node = stack.enter_context(house(home / "ours", BASE))
        if given.only != "imap":
            run_smtp(node, home, rounds, messages)
        if given.only != "smtp":
            run_imap(node, home, count)


if __name__ == "__main__":
    main()
