"""The rights matrix of docs/reference/dmp.md 7.4, cell by cell, written a second time by hand and compared."""

from __future__ import annotations

import pytest

from dmp_connector.simulator.rights import Column, Reach, Right, reach

CARD, REG, BRIS, MT, MT_BRIS, MDT, CPE, ES = Column
Y, N, OWN, AUTH, STRUCT = Reach


@pytest.mark.parametrize(
    ("right", "cells"),
    [
        (Right.EXISTENCE, (Y, Y, Y, Y, Y, Y, Y, Y)),
        (Right.AUTHORISE, (Y, N, N, Y, N, Y, Y, N)),
        (Right.WITHDRAW, (Y, N, N, Y, N, Y, N, N)),
        (Right.SEARCH, (N, Y, N, N, N, N, N, N)),
        (Right.READ_ADMINISTRATIVE, (Y, Y, Y, Y, Y, Y, Y, Y)),
        (Right.PROFESSIONALS, (Y, N, N, Y, N, Y, N, N)),
        (Right.FEED, (Y, Y, Y, Y, Y, Y, Y, Y)),
        (Right.FIND, (Y, Y, Y, Y, Y, Y, N, N)),
        (Right.LOCATE, (Y, Y, Y, Y, Y, Y, Y, Y)),
        (Right.RETRIEVE, (Y, Y, Y, Y, Y, N, N, N)),
        (Right.RETRIEVE_MASKED, (OWN, AUTH, AUTH, Y, AUTH, N, N, N)),
        (Right.MASK, (Y, N, N, Y, N, Y, N, N)),
        (Right.UNMASK, (OWN, N, N, Y, N, OWN, N, N)),
        (Right.MAKE_VISIBLE, (Y, N, N, Y, N, Y, N, N)),
        (Right.ARCHIVE, (OWN, N, N, Y, Y, OWN, N, N)),
        (Right.ARCHIVE_DOCTOR, (OWN, Y, Y, Y, Y, OWN, N, N)),
        (Right.DELETE, (OWN, OWN, OWN, OWN, OWN, OWN, STRUCT, STRUCT)),
    ],
)
def test_the_matrix(right: Right, cells: tuple[Reach, ...]) -> None:
    assert tuple(reach(right, column) for column in Column) == cells


def test_air_does_not_feed_and_otherwise_follows_the_card() -> None:
    assert reach(Right.FEED, CARD, air=True) is N
    for right in Right:
        if right is not Right.FEED:
            assert reach(right, CARD, air=True) is reach(right, CARD)


def test_a_structure_in_regulation() -> None:
    assert reach(Right.SEARCH, ES, regulation=True) is Y
    assert reach(Right.SEARCH, ES) is N
    assert reach(Right.LIST, ES, regulation=True) is N
    assert reach(Right.LIST, ES) is Y
