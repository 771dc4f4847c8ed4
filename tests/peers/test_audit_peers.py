"""The ten peers of the national audit knock at alpha's relay port, with swaks and openssl s_client."""

import re
import subprocess

import pytest

from tests.needs import SWAKS_TLS

REFUSALS = {  # what the sentence must contain, so that the other operator knows what to mend
    "cn-differs": r"subject|CN",
    "dn-differs": r"subject|OU",
    "other-domain": r"delta\.mssante\.test",
    "expired": r"expired",
    "revoked": r"revoked",
    "foreign-ca": r"issue|authorit|IGC",
    "unlisted": r"unlisted\.mssante\.test",
    "no-tls": r"STARTTLS|TLS",
    "no-certificate": r"certificate",
}


def swaks(world, peer, *more):
    place, row = world.operator("alpha")["relay"], world.description["peers"][peer]
    command = [
        "swaks",
        "--server",
        f"{place['host']}:{place['port']}",
        "--from",
        f"expediteur@{row['domain']}",
        "--to",
        world.martin["address"],
        "--helo",
        f"mx.{row['domain']}",
        "--timeout",
        "20",
        *more,
    ]
    if peer != "no-tls":
        command.append("--tls")
    if "cert" in row:
        command += ["--tls-cert", str(world.path(row["cert"])), "--tls-key", str(world.path(row["key"]))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.peer("swaks", SWAKS_TLS)
@pytest.mark.parametrize("protocol", ["tlsv1_2", "tlsv1_3"])
def test_valid_peer_is_accepted(world, protocol):
    run = swaks(world, "valid", "--tls-protocol", protocol)
    assert run.returncode == 0, run.stdout
    assert re.search(r"^<~  250 2\.0\.0 ", run.stdout, re.MULTILINE)


@pytest.mark.peer("swaks", SWAKS_TLS)
@pytest.mark.parametrize("protocol", ["tlsv1_2", "tlsv1_3"])
@pytest.mark.parametrize("peer", sorted(REFUSALS))
def test_peer_is_refused_with_a_sentence_that_helps(world, peer, protocol):  # ANS MOTCO1
    assert world.description["peers"][peer]["expect"] == "refuse"
    run = swaks(world, peer, *(() if peer == "no-tls" else ("--tls-protocol", protocol)))
    assert run.returncode != 0
    refusal = re.search(r"^<\S*\*+ +(5\d\d) (5\.\d\.\d+) (.*)$", run.stdout, re.MULTILINE)
    assert refusal, run.stdout
    assert re.search(REFUSALS[peer], refusal[3], re.IGNORECASE), refusal[3]


@pytest.mark.peer("openssl")
def test_every_peer_of_the_description_is_tried(world):
    assert set(world.description["peers"]) == {"valid", *REFUSALS}


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("peer", ["expired", "foreign-ca", "revoked"])
def test_handshake_succeeds_and_smtp_refuses(world, peer):
    place, row = world.operator("alpha")["relay"], world.description["peers"][peer]
    dialogue = f"EHLO mx.{row['domain']}\r\nMAIL FROM:<a@{row['domain']}>\r\nQUIT\r\n"
    run = subprocess.run(
        [
            "openssl",
            "s_client",
            "-quiet",
            "-ign_eof",
            "-starttls",
            "smtp",
            "-connect",
            f"{place['host']}:{place['port']}",
            "-cert",
            str(world.path(row["cert"])),
            "-key",
            str(world.path(row["key"])),
        ],
        input=dialogue,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert re.search(r"^550 5\.7\.\d+ ", run.stdout, re.MULTILINE), run.stdout + run.stderr
    assert "221 " in run.stdout
