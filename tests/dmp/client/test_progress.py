"""Progress of a long transfer: octets sent, octets received, and the bar that a person sees."""

from __future__ import annotations

import io

from mssgw.cli import terminal
from mssgw.cli.dmp import documents


async def test_what_comes_is_counted_piece_by_piece_until_the_end(dmp, call_of):
    entries = await dmp.td31a_find(call_of("PATIENT"))
    told: list[tuple[int, int]] = []
    dmp.watch(lambda done, total: told.append((done, total)))
    await dmp.td32_retrieve(call_of("PATIENT"), [entries[0]])
    done, total = told[-1]
    assert done == total > entries[0].size
    assert [d for d, _ in told] == sorted(d for d, _ in told)
    dmp.watch(None)
    before = len(told)
    await dmp.td31a_find(call_of("PATIENT"))
    assert len(told) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch, pieces, stream=Terminal) -> str:
    """What a person sees while these pieces come."""
    screen = stream()
    monkeypatch.setattr(terminal.sys, "stderr", screen)
    with documents.receiving() as bar:
        for done, total in pieces:
            if bar is not None:
                bar(done, total)
    return screen.getvalue()


def test_a_bar_for_what_takes_a_while_at_a_terminal_only(monkeypatch):
    long = [(done, 4_000_000) for done in range(0, 4_000_001, 500_000)]
    assert "Réception du DMP" in shown(monkeypatch, long)
    assert "Réception du DMP" in shown(monkeypatch, [(600_000, 0), (900_000, 0)])  # a list whose length nobody announced
    assert "Réception du DMP" not in shown(monkeypatch, [(1000, 2000), (2000, 2000)])
    assert shown(monkeypatch, [], io.StringIO) == ""
