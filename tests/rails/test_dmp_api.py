"""Everything public in `dmp_connector` has a docstring, and the API page is made from them."""

import pytest

from tools import dmp_api


@pytest.mark.parametrize(("module", "tree"), dmp_api.modules(), ids=lambda one: one if isinstance(one, str) else "")
def test_every_public_name_has_a_docstring(module, tree):
    assert [f"{module}:{e.line} {e.name}" for e in dmp_api.entries(module, tree) if not e.doc.strip()] == []


def test_the_page_is_the_one_that_make_docs_writes():
    written = (dmp_api.ROOT / "docs" / "dmp-api.md").read_text("utf-8")
    assert written == dmp_api.page(), "run `make docs`"


def test_a_missing_docstring_is_found_and_private_names_are_not():
    import ast

    tree = ast.parse(
        'def told():\n    """x"""\ndef silent(): ...\nclass _Own:\n    def also(self): ...\nclass Value:\n    """x"""\n    def act(self): ...\n'
    )
    assert [(e.name, bool(e.doc)) for e in dmp_api.entries("m", tree)] == [
        ("told", True), ("silent", False), ("Value", True), ("Value.act", False)
    ]  # fmt: skip
