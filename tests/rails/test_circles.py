"""No circle of imports, between modules or between the rooms of a package: what stands above is never needed below."""

from pathlib import Path

import pytest

from tests.rails.house import circles, drawing, drawn, floors, redrawn

HOUSE = drawn()
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


@pytest.mark.parametrize(
    ("arrows", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}, []),
        ({"a": {"b"}, "b": {"a"}}, [("a", "b")]),
        ({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}, [("b", "c", "d")]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}, "e": {"a", "c"}}, [("a", "b"), ("c", "d")]),
    ],
)
def test_a_circle_is_found(arrows, found):
    assert sorted(circles(arrows)) == found


def test_imports_for_types_and_inside_functions_count():
    assert "mssgw.trust.xmlsig" in HOUSE.imports["mssgw.trust.whitelist"]  # under TYPE_CHECKING and inside a function
    assert len(HOUSE.modules) > 300


def test_no_circle_between_modules():
    assert circles(HOUSE.imports) == []


@pytest.mark.parametrize("package", HOUSE.packages)
def test_no_circle_between_the_parts_of_a_package(package):
    assert circles(HOUSE.arrows_inside(package)) == []


def test_no_circle_between_mssgw_and_the_connector():
    assert not any(
        target.startswith("mssgw") for module, targets in HOUSE.imports.items() if module.startswith("dmp_connector") for target in targets
    )


def test_a_room_stands_above_all_that_it_imports():
    assert floors({"d": {"b", "c"}, "c": {"a"}, "b": {"c"}, "a": set(), "e": set()}) == [["a", "e"], ["c"], ["b"], ["d"]]


def test_the_page_shows_the_house_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    assert page == redrawn(page, drawing(HOUSE)), "run `make docs`"
