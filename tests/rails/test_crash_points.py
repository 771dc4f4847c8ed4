"""Every named place where the process can be killed has a test that kills it there."""

from __future__ import annotations

from tests.crash import points


def test_points_of_verbs_are_killed_at_in_their_own_tests() -> None:
    """The tests of `tests/crash` take the others from the sources by themselves."""
    texts = {name: (points.ROOT / name).read_text(encoding="utf-8") for name in points.OF_VERBS.values()}
    verbs = [point for point in points.points_in(points.ROOT / "mssgw") if points.is_of_a_verb(point)]
    assert [point for point in verbs if f'"{point}' not in texts[points.OF_VERBS[point.partition(".")[0]]]] == []
    assert {point.partition(".")[0] for point in verbs} == set(points.OF_VERBS)
