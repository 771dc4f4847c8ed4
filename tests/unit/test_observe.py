"""What never stands in a log: a citizen's number, which is the local part of their address (docs/reference/mssante.md 6)."""

import json
import subprocess
import sys

import pytest

from mssgw.observe import without_ins

WOMAN, TYPO = "279035121518989", "279035121518988"  # invented; the key of the first holds


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{WOMAN}@patient.mssante.fr", "(INS)@patient.mssante.fr"),
        (f"550 5.1.1 <{WOMAN}@patient.mssante.fr>: unknown", "550 5.1.1 <(INS)@patient.mssante.fr>: unknown"),
        (f"{TYPO}@patient.mssante.fr", "(INS)@patient.mssante.fr"),
        ("27707279035121518989@patient.mssante.fr", "(INS)@patient.mssante.fr"),
        (f"no mailbox {WOMAN} here", "no mailbox (INS) here"),
        (f"no mailbox {TYPO} here", f"no mailbox {TYPO} here"),
        ("20261201072025123456", "20261201072025123456"),
        ("jeanne.martin@alpha.example", "jeanne.martin@alpha.example"),
        ("reponse.automatique-test@patient.mssante.fr", "reponse.automatique-test@patient.mssante.fr"),
    ],
)
def test_the_number_of_a_citizen_is_taken_out(text, shown):
    assert without_ins(text) == shown


@pytest.mark.parametrize(("letter", "as_digit"), [("A", "19"), ("B", "18")])
def test_a_number_of_corsica_is_one(letter, as_digit):
    key = 97 - int(f"27902{as_digit}123456") % 97
    assert without_ins(f"279022{letter}123456{key:02}") == "(INS)"
    assert without_ins(f"279022{letter}123456{key % 97 + 1:02}") != "(INS)"


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_line_of_a_log_has_it_nor_the_stack_of_a_bug(form):
    script = f"""
from mssgw import observe
observe.configure("debug", {form!r})
observe.log(observe.Event.RELAY_SENT, recipient="{WOMAN}@patient.mssante.fr", reply="250 {WOMAN} ok", size=3)
try:
    raise ValueError("no place for {WOMAN}@patient.mssante.fr")
except ValueError as error:
    observe.log_bug(error, trace="T1")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert WOMAN not in done.stderr
    assert done.stderr.count("(INS)") >= 3
    if form == "json":
        sent = json.loads(done.stderr.splitlines()[0])
        assert (sent["recipient"], sent["reply"], sent["size"]) == ("(INS)@patient.mssante.fr", "250 (INS) ok", 3)
