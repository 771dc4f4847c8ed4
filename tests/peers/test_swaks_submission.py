"""swaks, curl and msmtp as mail clients at alpha: both ports, both mechanisms, DSN, large mail, the refusals a user meets."""

import re
import subprocess

import pytest

from tests.needs import SWAKS_TLS


def swaks(world, *more, port="submission", password=None, to=None):
    place, who = world.operator("alpha")[port], world.martin
    command = [
        "swaks",
        "--server",
        f"{place['host']}:{place['port']}",
        "--from",
        who["address"],
        "--to",
        to or world.durand["address"],
        "--auth-user",
        who["address"],
        "--auth-password",
        password or who["password"],
        "--timeout",
        "20",
        "--tls-ca-path",
        str(world.path(world.description["ca"])),
        "--tls-on-connect" if place["tls"] == "implicit" else "--tls",
        *more,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.peer("swaks", SWAKS_TLS)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("port", ["submission", "submissions"])
def test_submission_with_auth(world, port, mechanism):
    run = swaks(world, "--auth", mechanism, port=port)
    assert run.returncode == 0, run.stdout
    assert re.search(r"^<~  250 2\.0\.0 queued as [A-Z2-7]{13}$", run.stdout, re.MULTILINE), run.stdout


@pytest.mark.peer("swaks", SWAKS_TLS)
@pytest.mark.parametrize("protocol", ["tlsv1_2", "tlsv1_3"])
def test_both_tls_versions_and_pipelining(world, protocol):
    run = swaks(world, "--auth", "PLAIN", "--tls-protocol", protocol, "--pipeline")
    assert run.returncode == 0, run.stdout


@pytest.mark.peer("swaks", SWAKS_TLS)
def test_a_wrong_password_is_refused(world):
    run = swaks(world, "--auth", "PLAIN", password="wrong")
    assert run.returncode != 0
    assert "535 5.7.8 User name or password is wrong" in run.stdout


@pytest.mark.peer("swaks", SWAKS_TLS)
def test_an_unlisted_domain_is_named_at_rcpt(world):
    run = swaks(world, "--auth", "PLAIN", to="someone@gmail.com")
    assert run.returncode != 0
    assert re.search(r"^<~\*+ +550 5\.1\.2 .*gmail\.com", run.stdout, re.MULTILINE), run.stdout


@pytest.mark.peer("swaks", SWAKS_TLS)
def test_the_from_of_a_colleague_is_refused(world):
    run = swaks(world, "--auth", "PLAIN", "--header", "From: admin@alpha.mssante.test")
    assert run.returncode != 0
    assert re.search(r"^<~\*+ +550 5\.7\.1 You may not write as admin@", run.stdout, re.MULTILINE), run.stdout


@pytest.mark.peer("swaks", SWAKS_TLS)
def test_sixty_megabytes_are_refused_and_the_next_client_is_served(world, tmp_path):
    large = tmp_path / "large.eml"
    large.write_bytes(b"From: " + world.martin["address"].encode() + b"\r\nSubject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * (60_000_000 // 78))
    run = swaks(world, "--auth", "PLAIN", "--data", f"@{large}", "--suppress-data")
    assert run.returncode != 0
    assert re.search(r"^<~\*+ +552 5\.3\.4 ", run.stdout, re.MULTILINE), run.stdout[-2000:]
    assert swaks(world, "--auth", "PLAIN").returncode == 0


@pytest.mark.peer("curl")
@pytest.mark.parametrize("port", ["submission", "submissions"])
def test_curl_sends(world, tmp_path, port):
    place, who = world.operator("alpha")[port], world.martin
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: " + who["address"].encode() + b"\r\nSubject: curl\r\n\r\nhello\r\n")
    scheme = "smtps" if place["tls"] == "implicit" else "smtp"
    run = subprocess.run(
        [
            "curl",
            "-sv",
            "--ssl-reqd",
            "--cacert",
            world.path(world.description["ca"]),
            "--url",
            f"{scheme}://{place['host']}:{place['port']}",
            "--user",
            f"{who['address']}:{who['password']}",
            "--mail-from",
            who["address"],
            "--mail-rcpt",
            world.durand["address"],
            "--upload-file",
            letter,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert "250 2.0.0 queued as" in run.stderr


@pytest.mark.peer("msmtp")
def test_msmtp_sends_with_dsn(world, tmp_path):
    place, who = world.operator("alpha")["submission"], world.martin
    run = subprocess.run(
        [
            "msmtp",
            f"--host={place['host']}",
            f"--port={place['port']}",
            "--auth=on",
            f"--user={who['address']}",
            f"--passwordeval=echo {who['password']}",
            "--tls=on",
            f"--tls-trust-file={world.path(world.description['ca'])}",
            f"--from={who['address']}",
            "--dsn-notify=failure,delay",
            "--dsn-return=hdrs",
            world.durand["address"],
        ],
        input=f"From: {who['address']}\nSubject: msmtp\n\n.a leading dot\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
