"""What stands in the directory of identities and is not used is named by `config check`."""

from __future__ import annotations

from pathlib import Path

from mssgw.smime.directories.files import identity_problems, identity_remarks
from tests.smime.people import ALICE, NOW, Authority, private


def test_each_unused_file_has_its_sentence(tmp_path: Path) -> None:
    authority = Authority()
    authority.issue("rsa", ALICE).write(tmp_path, "used")
    alone, _ = authority.issue("rsa", ALICE).write(tmp_path, "alone")
    alone.with_suffix(".key").unlink()
    _, key = authority.issue("rsa", ALICE).write(tmp_path, "key")
    key.with_suffix(".pem").unlink()
    (tmp_path / "her.p12").write_bytes(b"0")
    said = [one.en for one in identity_remarks(tmp_path)]
    assert len(said) == 3
    for name, words in (("alone.pem", "alone.key"), ("key.key", "key.pem"), ("her.p12", "mssgw identity import")):
        assert any(name in one and words in one for one in said), name
    assert identity_problems(tmp_path, NOW) == []


def test_a_key_of_another_certificate_is_found_by_its_public_key(tmp_path: Path) -> None:
    who = Authority().issue("rsa", ALICE)
    who.key = private("rsa", 5)
    who.write(tmp_path, "mixed")
    (problem,) = identity_problems(tmp_path, NOW)
    assert "mixed.key" in problem.en
