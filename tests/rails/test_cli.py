"""Every verb answers --help, and wrong use ends with status 2, not with a traceback."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mssgw.cli import app

DMP = (
    "render",
    "types",
    "cda-types",
    "classes",
    "formats",
    "contents",
    "facilities",
    "practices",
    "confidentialities",
    "specialties",
    "roles",
    "exists",
    "authorise",
    "list",
    "search",
    "professionals",
    "find",
    "get",
    "submit",
    "hide",
    "show",
    "archive",
    "delete",
    "create",
    "read",
    "modify",
    "close",
    "reopen",
)
VERBS = [
    ["serve"],
    ["init"],
    ["config", "check"],
    ["config", "show"],
    ["check"],
    ["demo"],
    ["conformity"],
    ["trust", "verify"],
    ["trust", "show"],
    ["trust", "match"],
    ["trust", "diff"],
    ["trust", "import-anchors"],
    ["smime", "verify"],
    ["smime", "decrypt"],
    ["smime", "sign"],
    ["smime", "encrypt"],
    ["xdm", "read"],
    ["xdm", "write"],
    *(["queue", verb] for verb in ("list", "show", "retry", "hold", "release", "drop")),
    ["trace"],
    *(["account", verb] for verb in ("add", "list", "suspend", "resume")),
    ["mailbox", "list"],
    *(["recipient", verb] for verb in ("show", "pin", "forget")),
    *(["identity", verb] for verb in ("add", "list", "show", "request", "renew", "retire", "unlock", "import")),
    ["seal", "new-key"],
    ["seal", "rotate"],
    ["backup", "take"],
    ["backup", "verify"],
    ["restore"],
    *(["dmp", verb] for verb in DMP),
    *(["dmp", "agent", verb] for verb in ("start", "stop", "status")),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_verb_explains_itself(verb):
    result = CliRunner().invoke(app, [*verb, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


@pytest.mark.parametrize("arguments", [["nonsense"], ["trust", "nonsense"], ["queue", "list"], ["serve"]], ids=" ".join)
def test_wrong_use_ends_with_2(arguments):
    run = subprocess.run([sys.executable, "-m", "mssgw", *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
