"""`mssgw trust …`: status 0 when it holds, 1 when it does not (with the reason), 2 for wrong usage; --json prints one document."""

from __future__ import annotations

import gzip
import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mssgw.cli.trust import app
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.core.texts import has
from mssgw.demo.pki import Pki, listed_name
from mssgw.demo.whitelist import ListEntry, render, sign
from mssgw.pki import names
from mssgw.trust import anchors, igc_sante, importing
from mssgw.trust.faults import Fault
from mssgw.trust.refresh import Pending, State
from tests.configurations import alpha
from tests.material import place

ALPHA = "alpha.mssante.test"


class Workplace:
    """Files an administrator has before him."""

    def __init__(self, directory):
        self.directory, self.now = directory, datetime.now(UTC).replace(microsecond=0)
        self.pki = Pki("http://127.0.0.1:9")
        self.alpha = self.pki.operator("mx.alpha.mssante.test")
        self.signer = self.pki.list_signer()
        self.pki.write_anchors(directory / "anchors")
        (directory / "anchors" / "leaf.pem").write_bytes(self.alpha.pem)  # leaves in it are ignored
        self.alpha.write(directory, "alpha")
        self.list([ListEntry(ALPHA, listed_name(self.alpha))])

    def list(self, entries, name="list.xml", days=1, signer=None):
        octets = sign(render(entries, self.now - timedelta(days=days)), signer or self.signer)
        (self.directory / name).write_bytes(octets)
        return octets

    def run(self, *arguments):
        """(exit status, the document or the text, what was printed on stderr). The demo's signer may sign, if no other is named."""
        if "--anchors" in arguments and "--signer" not in arguments:
            arguments = (*arguments, "--signer", "alb.mssante.test")
        return self.run_as_it_stands(*arguments)

    def run_as_it_stands(self, *arguments):
        result = CliRunner().invoke(app, [*map(str, arguments)])
        document = json.loads(result.stdout) if "--json" in arguments and result.stdout.startswith("{") else result.stdout
        return result.exit_code, document, result.stderr

    def __truediv__(self, name):
        return self.directory / name


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return Workplace(tmp_path_factory.mktemp("workplace"))


def test_verify_holds(workplace):
    status, document, _ = workplace.run(
        "verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--revocation", "none", "--json"
    )
    assert status == 0
    assert {name: document[name] for name in ("entries", "domains", "operators")} == {"entries": 1, "domains": 1, "operators": 1}
    assert document["generated_at"] == f"{workplace.now - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    assert document["signer"].startswith("CN=alb.mssante.test,")


def test_verify_soft_remarks_that_there_was_no_data_and_hard_refuses(workplace):
    status, document, _ = workplace.run("verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--json")
    assert (status, document["revocation"]) == (0, "soft: no fresh data")
    status, document, _ = workplace.run(
        "verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--revocation", "hard", "--json"
    )
    assert (status, document["valid"], document["fault"]) == (1, False, "revocation-unknown")


def test_verify_does_not_hold_and_gives_the_reason(workplace):
    (workplace / "changed.xml").write_bytes((workplace / "list.xml").read_bytes().replace(b"alpha.mssante", b"omega.mssante"))
    status, document, said = workplace.run("verify", workplace / "changed.xml", "--anchors", workplace / "anchors", "--json")
    assert (status, document["fault"]) == (1, "list-signature")
    assert "changed after it was signed" in document["reason"]
    assert document["reason"] in said


def test_verify_at_another_time(workplace):
    status, document, _ = workplace.run(
        "verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--at", "2040-01-01", "--json"
    )
    assert (status, document["fault"]) == (1, "expired")


def test_verify_signer_by_name(workplace):
    held = workplace.run(
        "verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--signer", "alb.mssante.test", "--revocation", "none"
    )
    other = workplace.run(
        "verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--signer", "alb.mssante.fr", "--revocation", "none"
    )
    assert (held[0], other[0]) == (0, 1)
    assert "its CN is none of alb.mssante.fr" in other[2]


@pytest.mark.parametrize("verb", ["verify", "match"])
def test_without_a_name_the_signer_is_judged_as_in_production(workplace, verb):
    """Regression: a list signed by the seal of any hospital was called valid."""
    more = (ALPHA, workplace / "alpha.pem") if verb == "match" else ()
    common = (verb, workplace / "list.xml", *more, "--anchors", workplace / "anchors", "--revocation", "none", "--json")
    status, document, said = workplace.run_as_it_stands(*common)
    assert (status, document["valid"], document["fault"]) == (1, False, "list-signer")
    assert "alb.mssante.fr" in said
    status, document, _ = workplace.run_as_it_stands(*common, "--signer", "alb.mssante.test")
    assert (status, document["valid"], document["signer_judged"]) == (0, True, True)


def test_the_seal_of_a_hospital_signs_no_list(workplace):
    seal = workplace.pki.organisation("organisation@alpha.mssante.test")
    workplace.list([ListEntry(ALPHA, listed_name(workplace.alpha))], "sealed.xml", signer=seal)
    common = ("--anchors", workplace / "anchors", "--revocation", "none", "--json")
    for verb in (("verify", workplace / "sealed.xml"), ("match", workplace / "sealed.xml", ALPHA, workplace / "alpha.pem")):
        status, document, _ = workplace.run_as_it_stands(*verb, *common)
        assert (status, document["fault"]) == (1, "list-signer")


def test_verify_judges_the_signer_by_the_configuration_of_a_node(workplace):
    (workplace / "master.key").write_bytes(bytes(32))
    (workplace / "node.toml").write_text(alpha(trust='pki = "private"\nsigner_common_names = ["alb.mssante.test"]'))
    common = ("verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--revocation", "none", "--json")
    assert workplace.run_as_it_stands(*common, "--config", workplace / "node.toml")[0] == 0


def test_diff_without_anchors_says_that_signers_were_not_judged(workplace):
    status, document, _ = workplace.run_as_it_stands("diff", workplace / "list.xml", workplace / "list.xml", "--json")
    assert (status, document["signer_judged"]) == (0, False)
    said = workplace.run_as_it_stands("diff", workplace / "list.xml", workplace / "list.xml")[2]
    assert "n'ont pas été jugés" in said
    assert "were not judged" in said


def test_a_list_dated_after_the_time_asked_for_is_not_valid(workplace):
    before = f"{workplace.now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
    seal = workplace.pki.list_signer(not_before=workplace.now - timedelta(days=30))
    workplace.list([ListEntry(ALPHA, listed_name(workplace.alpha))], "later.xml", signer=seal)
    status, document, _ = workplace.run(
        "verify", workplace / "later.xml", "--anchors", workplace / "anchors", "--revocation", "none", "--at", before, "--json"
    )
    assert (status, document["fault"]) == (1, "not-a-list")
    assert "dated in the future" in document["reason"]
    assert "datée du futur" in document["reason_fr"]


@pytest.mark.parametrize(
    ("changed", "english", "french"),
    [
        (gzip.compress, "compressed (gzip)", "compressée (gzip)"),
        (lambda octets: octets[: len(octets) // 2], "cut short", "tronquée"),
        (lambda octets: octets[:-3], "cut short", "tronquée"),
        (lambda _: b"", "is empty", "est vide"),
    ],
    ids=["gzip", "half", "without its end", "empty"],
)
def test_a_list_that_is_packed_or_cut_is_named_as_such(workplace, changed, english, french):
    (workplace / "odd.xml").write_bytes(changed((workplace / "list.xml").read_bytes()))
    status, document, _ = workplace.run("verify", workplace / "odd.xml", "--anchors", workplace / "anchors", "--json")
    assert (status, document["fault"]) == (1, "not-a-list")
    assert english in document["reason"]
    assert french in document["reason_fr"]


@pytest.mark.material("crypto/igc-sante", "mssante")
def test_real_anchors_and_the_shared_negative_lists():
    for name, fault in (
        ("listeblanche-excerpt-readable.not-signed-valid.xml", "list-signature"),
        ("listeblanche-2025-02-28-xmlns-as-element.invalid.xml", "not-a-list"),
    ):
        result = CliRunner().invoke(
            app,
            [
                "verify",
                str(place(f"mssante/{name}")),
                "--anchors",
                str(place("crypto/igc-sante")),
                "--at",
                "2025-03-01T00:00:00Z",
                "--json",
            ],
        )
        assert (result.exit_code, json.loads(result.stdout)["fault"]) == (1, fault)


@pytest.mark.parametrize("arguments", [("verify",), ("verify", "nowhere.xml", "--anchors", "."), ("match", "x"), ("nonsense",)])
def test_usage(workplace, arguments):
    assert workplace.run(*arguments)[0] == 2


def test_usage_of_time_and_domain(workplace):
    assert workplace.run("verify", workplace / "list.xml", "--anchors", workplace / "anchors", "--at", "hier")[0] == 2
    assert (
        workplace.run("match", workplace / "list.xml", "not a domain", workplace / "alpha.pem", "--anchors", workplace / "anchors")[0] == 2
    )


def test_match(workplace):
    common = ("--anchors", workplace / "anchors", "--revocation", "none", "--json")
    status, document, _ = workplace.run("match", workplace / "list.xml", ALPHA, workplace / "alpha.pem", *common)
    assert (status, document["operator"]) == (0, listed_name(workplace.alpha))
    other = workplace.pki.operator("mx.alpha.mssante.test", o="AUTRE")
    other.write(workplace.directory, "other")
    status, document, _ = workplace.run("match", workplace / "list.xml", ALPHA, workplace / "other.pem", *common)
    assert (status, document["fault"]) == (1, "dn-differs")
    assert "O is 'AUTRE', the list says 'OPERATEUR DEMO'" in document["reason"]
    assert workplace.run("match", workplace / "list.xml", ALPHA, workplace / "other.pem", "--lenient", *common)[0] == 0
    assert workplace.run("match", workplace / "list.xml", "nowhere.test", workplace / "alpha.pem", *common)[1]["fault"] == "unlisted"
    (workplace / "no.pem").write_bytes(b"nothing")
    assert workplace.run("match", workplace / "list.xml", ALPHA, workplace / "no.pem", *common)[0] == 1


def test_diff(workplace):
    moved = workplace.pki.operator("mx.neu.test")
    workplace.list([ListEntry(ALPHA, listed_name(moved)), ListEntry("beta.mssante.test", listed_name(moved))], "new.xml", days=0)
    status, document, _ = workplace.run("diff", workplace / "list.xml", workplace / "new.xml", "--anchors", workplace / "anchors", "--json")
    assert (status, document["added"], document["removed"]) == (0, ["beta.mssante.test"], [])
    assert document["operators_added"] == [[ALPHA, listed_name(moved)]]
    assert document["operators_removed"] == [[ALPHA, listed_name(workplace.alpha)]]
    assert workplace.run("diff", workplace / "list.xml", workplace / "list.xml")[1] == "aucune différence\nno difference\n"


# -- with a node -----------------------------------------------------------------------------------------------------


@pytest.fixture
def node(workplace, tmp_path):
    (tmp_path / "master.key").write_bytes(bytes(32))
    (tmp_path / "mssgw.toml").write_text(alpha(trust='pki = "private"\nsigner_common_names = ["alb.mssante.test"]'))
    (tmp_path / "anchors").symlink_to(workplace / "anchors")
    return tmp_path


def in_force(workplace, node, adopted_at, checked_at=None):
    from mssgw.trust import disk, whitelist

    octets = (workplace / "list.xml").read_bytes()
    opened = whitelist.open_signed(octets)
    disk.write(node / "data" / "trust" / "list.xml", octets)
    disk.write_json(node / "data" / "trust" / "list.json", State(opened.sha256, adopted_at, checked_at or adopted_at, opened.generated_at))


def test_show(workplace, node):
    config = ("--config", node / "mssgw.toml")
    assert workplace.run("show", *config)[0] == 1
    in_force(workplace, node, SystemClock().now() - timedelta(minutes=30))
    status, document, _ = workplace.run("show", ALPHA, *config, "--json")
    assert (status, document["domains"], document["operators_of_domain"]) == (0, 1, [listed_name(workplace.alpha)])
    assert document["support"].endswith("support@operateur.test")
    assert 1700 < document["age_seconds"] < 2200
    assert workplace.run("show", "nowhere.test", *config)[0] == 1
    in_force(workplace, node, SystemClock().now() - timedelta(minutes=30), checked_at=SystemClock().now() - timedelta(hours=200))
    status, _, said = workplace.run("show", *config)
    assert status == 1
    assert "nobody is trusted" in said
    assert workplace.run("override", *config, "--reason", "panne")[0] == 0
    status, document, _ = workplace.run("show", *config, "--json")
    assert status == 0
    assert document["override"].endswith(": panne")


def test_show_prints_lists_as_people_do(workplace, node):
    """Regression: it printed `operators_of_domain ['CN=…']`."""
    config = ("--config", node / "mssgw.toml")
    in_force(workplace, node, SystemClock().now() - timedelta(minutes=30))
    status, text, _ = workplace.run("show", ALPHA, *config)
    assert status == 0
    lines = {tuple(part.strip() for part in line.split("  ", 1)) for line in text.splitlines()}
    assert ("opérateurs du domaine / operators of the domain", listed_name(workplace.alpha)) in lines
    assert ("valable / valid", "oui / yes") in lines
    assert "[" not in text


def test_accept_and_override(workplace, node):
    config = ("--config", node / "mssgw.toml", "--reason", "essai")
    assert workplace.run("accept", *config)[0] == 1
    from mssgw.trust import disk

    now = SystemClock().now()
    disk.write_json(node / "data" / "trust" / "pending.json", Pending("ab", now, now, 5, 10))
    assert workplace.run("accept", *config, "--json")[1]["lost"] == 5
    assert workplace.run("override", *config, "--hours", 5)[0] == 0
    assert workplace.run("override", "--config", node / "mssgw.toml")[0] == 2  # a reason is asked for
    status, document, _ = workplace.run("override", *config, "--hours", 0, "--json")
    assert (status, document["in_force"], document["until"]) == (0, False, None)
    said = workplace.run("override", *config, "--hours", 0)[1]  # the override, which switched the age limit off until now, has ended
    assert said.startswith("La dérogation est levée")
    assert "taken back" in said
    for name in ("accepted.json", "override.json"):
        assert json.loads((node / "data" / "trust" / name).read_text())["reason"] == "essai"


def test_refusals_stand_in_french_first(workplace):
    """SMTP replies are ASCII and English; a person at the command line reads French, then English."""
    other = workplace.pki.operator("mx.alpha.mssante.test", o="ENCORE UN")
    other.write(workplace.directory, "encore")
    common = ("--anchors", workplace / "anchors", "--revocation", "none")
    for arguments, french, english in (
        (("match", workplace / "list.xml", ALPHA, workplace / "encore.pem", *common), "n'est pas celui qui est inscrit pour", ALPHA),
        (("match", workplace / "list.xml", "nowhere.test", workplace / "alpha.pem", *common), "n'est pas dans la liste", "not on the"),
        (("verify", workplace / "list.xml", *common, "--at", "2040-01-01"), "a expiré le", "expired on"),
    ):
        status, _, said = workplace.run(*arguments)
        assert status == 1
        assert french in said.splitlines()[0]
        assert english in said.splitlines()[1]
        _, document, _ = workplace.run(*arguments, "--json")
        assert french in document["reason_fr"]
        assert english in document["reason"]


def test_every_fault_has_its_sentence():
    assert all(has(f"trust.fault.{each}") for each in Fault)


def test_json_when_no_root_is_in_the_directory(workplace, tmp_path):
    """Regression: no document was printed."""
    (tmp_path / "leaf.pem").write_bytes(workplace.alpha.pem)
    for arguments in (
        ("verify", workplace / "list.xml"),
        ("match", workplace / "list.xml", ALPHA, workplace / "alpha.pem"),
        ("diff", workplace / "list.xml", workplace / "list.xml"),
    ):
        status, document, _ = workplace.run(*arguments, "--anchors", tmp_path, "--json")
        assert (status, document["valid"], document["fault"]) == (1, False, "anchors")


# -- anchors ---------------------------------------------------------------------------------------------------------


@pytest.mark.material("crypto/igc-sante")
def test_import_takes_only_what_is_pinned(workplace, tmp_path):
    octets = [(path.name, path.read_bytes()) for path in sorted(place("crypto/igc-sante").iterdir())]
    imported = importing.take(octets, tmp_path, "igc-sante", ())
    assert {each.fingerprint for each in imported.taken} == set(igc_sante.PRODUCTION)
    assert len(imported.refused) >= 4  # the leaves beside them
    assert len(anchors.load(tmp_path, "igc-sante").every) == 9
    foreign = importing.take([("x", workplace.signer.chain_pem)], tmp_path, "igc-sante", ())
    assert foreign.taken == ()
    assert any('pki = "private"' in problem.en or 'pki = "igc-sante-test"' in problem.en for problem in foreign.refused)
    page = importing.take([("http://x", b"<html>Incapsula</html>")], tmp_path, "igc-sante", ())
    assert "does a page stand there" in str(page.refused[0])


@pytest.mark.material("crypto/igc-sante")
@pytest.mark.peer("openssl")
def test_import_from_a_p7b(tmp_path):
    import subprocess

    chain = b"".join(
        subprocess.run(["openssl", "x509", "-inform", "der", "-in", path], capture_output=True, check=True).stdout
        for path in place("crypto/igc-sante").glob("AC*.cer")
    )
    (tmp_path / "chain.pem").write_bytes(chain)
    subprocess.run(
        ["openssl", "crl2pkcs7", "-nocrl", "-certfile", tmp_path / "chain.pem", "-outform", "DER", "-out", tmp_path / "chain.p7b"],
        check=True,
    )
    imported = importing.take([("chain.p7b", (tmp_path / "chain.p7b").read_bytes())], tmp_path / "anchors", "igc-sante", ())
    assert (len(imported.taken), imported.refused) == (9, ())


@pytest.mark.material("crypto/igc-sante")
def test_production_and_test_never_mix(workplace, tmp_path):  # ECO.1.1.10
    production = [(path.name, path.read_bytes()) for path in place("crypto/igc-sante").glob("AC*.cer")]
    assert importing.take(production, tmp_path, "private", ()).taken == ()
    assert importing.take(production, tmp_path, "igc-sante-test", tuple(igc_sante.PRODUCTION)).taken == ()
    test_pki = Pki(prefix="TEST")
    test_pki.authority()
    pem = [("test", each.public_bytes(_pem())) for each in test_pki.anchors()]
    fingerprints = tuple(anchors.read_bundle(octets)[0].fingerprint for _, octets in pem)
    assert len(importing.take(pem, tmp_path, "igc-sante-test", fingerprints).taken) == 2
    assert importing.take(pem, tmp_path, "igc-sante", fingerprints).taken == ()


def _pem():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM


def test_import_by_command(workplace, node):
    status, document, _ = workplace.run("import-anchors", "--config", node / "mssgw.toml", workplace / "anchors" / "ACR-EL.pem", "--json")
    assert (status, [each["subject"].partition(",")[0] for each in document["imported"]]) == (
        0,
        ["CN=DEMO AC RACINE IGC-SANTE ELEMENTAIRE"],
    )
    assert workplace.run("import-anchors", "--config", node / "mssgw.toml", workplace / "alpha.key")[0] == 1
    assert load(node / "mssgw.toml").trust.pki == "private"


def test_the_shipped_table_is_what_the_code_pins():
    table = tomllib.loads((Path(__file__).parents[2] / "config" / "trust" / "igc-sante.toml").read_text())
    assert {each["sha256"]: each["name"] for each in table["authority"]} == igc_sante.PRODUCTION
    assert (table["chain"], tuple(table["crls"])) == (igc_sante.CHAIN_URL, igc_sante.CRL_URLS)


@pytest.mark.parametrize(("cn", "pki", "wanted"), [
    ("TEST AC IGC-SANTE", "igc-sante", "igc-sante-test"),
    ("AC OF A HOSPITAL", "igc-sante", "private"),
    ("AC OF A HOSPITAL", "igc-sante-test", "private"),
])  # fmt: skip
def test_a_refused_authority_names_the_environment_it_belongs_to(cn, pki, wanted):
    """Regression: only that it is not pinned was reported, and not which `trust.pki` takes it."""
    authority = SimpleNamespace(subject=names.parse(f"CN={cn}"), fingerprint="ab" * 32)
    (problem,) = anchors.strangers([authority], pki, ())
    for language in ("fr", "en"):
        assert f'pki = "{wanted}"' in problem.text(language)
        assert authority.fingerprint in problem.text(language)
