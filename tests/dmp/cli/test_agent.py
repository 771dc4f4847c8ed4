"""The agent: the same words, the same trail, the same questions as without it; and what happens when it is not as it should be."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dmp_connector.model import Oppositions
from mssgw.agent import places
from mssgw.agent.frames import MAX_FRAME, Line
from mssgw.agent.server import Occupied, Visitor
from mssgw.cli.dmp.remote import Actor, Remote
from tests.world import PATIENCE

from .agents import Agents, ByAgent, command, running
from .conftest import DOCTOR, OTHER, Mssgw
from .test_interruption import interrupted, started

WHY = "Patient inconscient aux urgences"


def ran(words: list[str], **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def of(mssgw: Mssgw, name: str, *more: str, patient: str = "PATIENT", who: str = DOCTOR) -> list[str]:
    return command(mssgw.config, name, "--as", who, *(["--patient", mssgw.running.ins(patient).value] if patient else []), *more)


def both_ways(mssgw: Mssgw, *words: str) -> list[tuple[int, str, str]]:
    """Status, standard output and error: without the agent, then with it."""
    return [
        (done.returncode, done.stdout, done.stderr.replace("python -m mssgw", "mssgw"))
        for done in (ran(list(words), env=os.environ | {"MSSGW_NO_AGENT": "1"}), ran(list(words)))
    ]


# -- the same


@pytest.mark.parametrize(
    ("name", "more", "status"),
    [
        ("find", (), 0),
        ("exists", ("--json",), 0),
        ("read", (), 0),
        ("list", ("--json",), 0),
        ("professionals", (), 0),
        ("get", ("1", "-o", "-"), 0),
        ("get", ("99", "-o", "-"), 1),
        ("show", ("1.2.3",), 1),
        ("modify", (), 2),
        ("find", ("--nonsense",), 2),
        ("find", ("--help",), 0),
        ("get", ("1", "-o", "no/such/place", "--json"), 1),
    ],
)
def test_a_verb_says_the_same_with_the_agent(mssgw, name, more, status):
    mssgw.done("find", patient="PATIENT")  # `get 1` means one of its lines
    with running(mssgw.config):
        without, with_it = both_ways(mssgw, *of(mssgw, name, *more, patient="" if name == "list" else "PATIENT"))
    assert without[0] == status, without
    assert with_it == without


def test_the_trail_says_the_same_with_the_agent(mssgw):
    with running(mssgw.config) as agent:
        for name in ("exists", "find", "read"):
            both_ways(mssgw, *of(mssgw, name))
        assert agent.acts == 3
    rows = mssgw.done("audit", patient="PATIENT")["audit"]
    whole = [(r["who"], r["structure"], r["what"], r["outcome"], [tuple(c) for c in r["conditions"]]) for r in rows]
    opened = next(place for place, row in enumerate(whole) if row[2] == "consultation" and row[3] == "opened")
    del whole[opened]  # the second find goes on with it
    exists, rest = whole[:2], whole[2:]
    assert exists[0] == exists[1]
    assert {row[2] for row in rest} >= {"TD1.3a", "TD3.1"}
    assert len({row[0] for row in whole}) == 1


def test_an_answer_of_the_register_is_asked_for_again_by_each_verb(mssgw):
    """A session of the agent lasts; what a patient decided meanwhile counts at the next verb."""
    agents = Agents()
    try:
        kept = ByAgent(mssgw.config, mssgw.running, agents)
        opened = ("--mode", "bris_de_glace", "--reason", WHY, "--yes")
        assert kept("find", *opened, patient="NOUVEAU").ok
        record = mssgw.running.record("NOUVEAU")
        record.data = replace(record.data, oppositions=Oppositions(True, False))
        refused = kept("find", *opened, patient="NOUVEAU")
    finally:
        agents.close()
    assert refused.status == 1
    assert refused.document["error"] == "AccessOpposed"


def test_files_are_opened_from_the_directory_of_who_typed_the_verb(mssgw, tmp_path):
    mssgw.done("find", patient="PATIENT")
    here = tmp_path / "here"
    here.mkdir()
    with running(mssgw.config) as agent:
        got = ran(of(mssgw, "get", "1", "-o", "document.xml"), cwd=here, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
        again = ran(of(mssgw, "get", "1", "-o", "document.xml"), cwd=here, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
        assert agent.acts == 2
    assert got.returncode == 0, got.stderr
    assert (here / "document.xml").read_bytes().startswith(b"<?xml")
    assert (here / "document.xml").stat().st_mode & 0o777 == 0o600
    assert again.returncode == 1  # it is there already


# -- questions


def until_shown(process: subprocess.Popen[bytes], words: bytes) -> None:
    """Reads standard error up to these words; fails with what was said when it ends, or nothing more comes."""
    assert process.stderr is not None
    shown = b""
    while words not in shown:
        ready, _, _ = select.select([process.stderr], [], [], PATIENCE)
        read = os.read(process.stderr.fileno(), 4096) if ready else b""
        assert read, shown.decode()
        shown += read


@contextmanager
def terminal():
    """(the person's end, the program's end)"""
    person, own = pty.openpty()
    try:
        yield person, own
    finally:
        os.close(person)
        os.close(own)


@pytest.mark.parametrize(("typed", "status"), [("oui\n", 0), ("peut-être\nnon\n", 1)])
def test_a_question_is_put_at_the_terminal_of_who_typed_the_verb(mssgw, typed, status):
    with running(mssgw.config) as agent, terminal() as (person, own):
        os.write(person, typed.encode())
        done = subprocess.run(of(mssgw, "authorise", patient="NOUVEAU"), stdin=own, capture_output=True, text=True, check=False, timeout=60)
        assert agent.acts == 1
    assert done.returncode == status, done.stderr
    assert "NOUVEAU" in done.stderr  # who is asked sees whose dossier it is
    assert mssgw.done("exists", patient="NOUVEAU")["authorisation"] == ("VALIDE" if status == 0 else "NON_EXISTE")


def test_one_ctrl_c_at_a_question_of_the_agent_ends_the_verb(mssgw):
    with running(mssgw.config) as agent, terminal() as (_, own):
        with started(of(mssgw, "authorise", patient="NOUVEAU"), own) as verb:
            shown = interrupted(verb, "[oui/non]", signal.SIGINT)
        assert agent.acts == 1
    assert verb.returncode == 130, shown
    assert "Interrompu ; rien n'a été envoyé." in shown
    assert mssgw.audit("NOUVEAU")[-1] == ("authorise", "interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_watched_consultation_of_the_agent_is_closed_by_a_signal(mssgw, number):
    with running(mssgw.config) as agent:
        with started(of(mssgw, "open"), subprocess.PIPE) as verb:
            shown = interrupted(verb, "Entrée pour fermer", number)
        assert agent.acts == 1
    assert verb.returncode == 128 + number, shown
    rows = mssgw.done("audit", patient="PATIENT")["audit"]
    assert [(r["what"], r["outcome"]) for r in rows[-2:]] == [("consultation", "closed"), ("open_consultation", "interrupted")]


def test_a_question_ends_with_the_agent_that_put_it(mssgw):
    """Regression: the verb said that the agent was killed, and not what became of the act."""
    with running(mssgw.config) as agent, terminal() as (_, own), started(of(mssgw, "authorise", patient="NOUVEAU"), own) as verb:
        until_shown(verb, b"[oui/non]")
        agent.stop()
        _, said = verb.communicate(timeout=60)
    assert verb.returncode == 128 + signal.SIGTERM, said
    assert "rien n'a été envoyé" in said.decode()
    assert mssgw.audit("NOUVEAU")[-1] == ("authorise", "interrupted")


def test_a_watched_consultation_of_the_agent_ends_with_enter(mssgw):
    with running(mssgw.config) as agent:
        done = subprocess.run(of(mssgw, "open", "--json"), input=b"\n", capture_output=True, check=False, timeout=60)
        assert agent.acts == 1
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ended_by"] == "hand"


def test_a_verb_whose_process_is_killed_ends_as_if_its_terminal_were_gone(mssgw):
    with running(mssgw.config) as agent:
        with started(of(mssgw, "open"), subprocess.PIPE) as verb:
            until_shown(verb, "Entrée pour fermer".encode())
            verb.kill()
        agent.stop()
    rows = mssgw.done("audit", patient="PATIENT")["audit"]
    assert (rows[-1]["what"], rows[-1]["outcome"]) == ("open_consultation", "interrupted")


# -- several at once


def test_a_question_to_one_actor_hinders_no_other_and_no_verb_waits_for_it(mssgw):
    with running(mssgw.config) as agent, terminal() as (person, own):
        with started(of(mssgw, "authorise", patient="NOUVEAU"), own) as verb:
            until_shown(verb, b"[oui/non]")
            other = ran(of(mssgw, "exists", who=OTHER))
            assert (other.returncode, other.stderr) == (0, "")
            same = ran(of(mssgw, "exists"))
            assert same.returncode == 0
            assert "attend une réponse à un autre terminal" in same.stderr
            os.write(person, b"oui\n")
            assert verb.wait(60) == 0
        assert agent.acts == 3


def test_verbs_of_one_actor_at_once_are_run_one_after_the_other(mssgw, monkeypatch):
    inside: list[int] = []
    most: list[int] = []
    real = Actor.run

    def counted(self, visitor, whole):
        async def watched():
            inside.append(1)
            most.append(len(inside))
            try:
                await whole()
            finally:
                inside.pop()

        return real(self, visitor, watched)

    monkeypatch.setattr(Actor, "run", counted)
    with running(mssgw.config) as agent:
        verbs = [subprocess.Popen(of(mssgw, "find"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
        ended = [(verb.communicate(timeout=60), verb.returncode) for verb in verbs]
        assert agent.acts == 4
    assert [status for _, status in ended] == [0] * 4, ended
    assert len({out for (out, _), _ in ended}) == 1
    assert most == [1] * 4


# -- who is not let in, and who does not come


def test_another_user_is_not_let_in_and_works_without(mssgw, monkeypatch):
    with running(mssgw.config) as agent:
        monkeypatch.setattr(places, "peer", lambda connection: os.geteuid() + 4711)
        assert ran(of(mssgw, "exists")).returncode == 0
        assert agent.acts == 0


def test_a_socket_of_another_user_is_not_used(mssgw, monkeypatch):
    with running(mssgw.config):
        found = places.connected(mssgw.config.parent / "data")
        assert found is not None
        found.close()
        monkeypatch.setattr(places, "peer", lambda connection: os.geteuid() + 4711)
        assert places.connected(mssgw.config.parent / "data") is None


def visited(mssgw: Mssgw, octets: bytes) -> bytes:
    """What the agent answers to these octets; b"" when it hangs up."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20)
        line.connect(str(mssgw.config.parent / "data" / "run" / places.SOCKET))
        try:
            line.sendall(octets)
            return line.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            return b""


@pytest.mark.parametrize("octets", [b'"' + b"x" * (MAX_FRAME + 1), b"hello\n", b"[1]\n", b"\xff\xfe\n", b"[" * 200_000 + b"\n"])
def test_what_is_no_frame_is_refused_and_the_agent_goes_on(mssgw, octets):
    with running(mssgw.config) as agent:
        assert visited(mssgw, octets) == b""
        assert ran(of(mssgw, "exists")).returncode == 0
        assert agent.acts == 1


def test_what_is_long_travels_in_pieces():
    ours, theirs = socket.socketpair()
    text, content = "é\x1b\n" * 400_000, bytes(range(256)) * 4000
    with ours, theirs:
        visitor, line = Visitor(Line(ours), {}), Line(theirs)
        Remote(visitor).out(text)
        Remote(visitor).octets(content)
        ending = threading.Thread(target=visitor.finished, args=(0,))
        ending.start()
        frames = []
        while (frame := line.receive()) is not None:
            frames.append(frame)
        ending.join()
    assert "".join(one["out"] for one in frames if "out" in one) == text
    assert b"".join(base64.b64decode(one["octets"]) for one in frames if "octets" in one) == content
    assert frames[-1] == {"end": 0}


def test_the_agent_opens_only_files_that_the_command_line_names(tmp_path):
    """An agent that somebody else took over reaches no other file of who typed a verb."""
    from mssgw.agent.client import _Verb

    secret, named = tmp_path / "secret", tmp_path / "named"
    for one in (secret, named):
        one.write_text("content")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        verb, agent = (
            _Verb(Line(ours), ["submit", "-q", f"/.{tmp_path}//named", f"--output={named}x", f"-o{named}y", f"./{named}z"]),
            Line(theirs),
        )
        for n, path in enumerate([str(secret), f"{named}/../secret", f"{named}z", str(named), f"{named}x", f"{named}y"]):
            verb._file({"seen": path, "n": n})
        answers = [agent.receive() for _ in range(6)]
        verb._file({"open": str(secret), "how": "read", "n": 9})
        assert agent.receive(descriptors=True) == {"n": 9, "errno": 13, "path": str(secret)}
        assert not agent.descriptors
        verb._wake.close()
        verb._woken.close()
    assert ["errno" in answer for answer in answers] == [True, True, True, False, False, False]


# -- an agent that is not the right one, that is killed, that is there already


def test_an_agent_of_a_configuration_that_changed_is_not_used_and_that_is_said(mssgw):
    with running(mssgw.config) as agent:
        mssgw.config.write_text(mssgw.config.read_text() + "\n# another\n")
        done = ran(of(mssgw, "exists"))
        assert agent.acts == 0
    assert done.returncode == 0
    assert "La configuration a changé depuis le démarrage de l'agent" in done.stderr.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(("name", "said"), [("version", "another version of this program"), ("config", "another configuration's")])
def test_an_agent_of_another_program_or_file_is_not_used_and_that_is_said(mssgw, name, said):
    with running(mssgw.config) as agent:
        agent._same = {**agent._same, name: "other"}
        done = ran(of(mssgw, "exists"))
        assert agent.acts == 0
    assert done.returncode == 0
    assert said in done.stderr


@pytest.mark.parametrize("by", ["option", "variable", "trace"])
def test_a_verb_works_without_the_agent_when_told_so(mssgw, tmp_path, by):
    words = of(mssgw, "exists", *(["--trace", str(tmp_path / "traces")] if by == "trace" else []))
    if by == "option":
        words.insert(words.index("dmp") + 1, "--no-agent")
    with running(mssgw.config) as agent:
        done = ran(words, env=os.environ | ({"MSSGW_NO_AGENT": "1"} if by == "variable" else {}))
        assert (done.returncode, done.stderr, agent.acts) == (0, "", 1 if by == "trace" else 0)
    assert by != "trace" or list((tmp_path / "traces").iterdir())


@contextmanager
def begun(mssgw: Mssgw, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """`mssgw dmp agent start`, that listens; killed when the test is over and it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "mssgw", "dmp", "agent", "start", "--config", str(mssgw.config), *more], stderr=subprocess.PIPE
    ) as agent:
        try:
            until_shown(agent, b"ready")
            yield agent
        finally:
            agent.kill()


def status(mssgw: Mssgw, verb: str = "status") -> tuple[int, dict]:
    done = ran([sys.executable, "-m", "mssgw", "dmp", "agent", verb, "--config", str(mssgw.config), "--json"])
    return done.returncode, json.loads(done.stdout)


def test_an_agent_is_started_shown_and_stopped(mssgw):
    with begun(mssgw) as agent:
        place = mssgw.config.parent / "data" / "run" / places.SOCKET
        assert place.stat().st_mode & 0o777 == 0o600
        assert ran(of(mssgw, "exists")).returncode == 0
        code, shown = status(mssgw)
        assert (code, shown["pid"], shown["acts"], list(shown["sessions"])) == (0, agent.pid, 1, [DOCTOR])
        second = ran([sys.executable, "-m", "mssgw", "dmp", "agent", "start", "--config", str(mssgw.config)])
        assert second.returncode == 1
        assert "runs already" in second.stderr
        assert status(mssgw, "stop") == (0, {"ok": True})
        assert agent.wait(60) == 0
    assert not place.exists()
    assert status(mssgw)[0] == 1
    assert ran(of(mssgw, "exists")).returncode == 0


def test_a_killed_agent_is_told_to_the_verb_it_ran_and_missed_by_no_other(mssgw):
    with begun(mssgw) as agent, terminal() as (_, own), started(of(mssgw, "authorise", patient="NOUVEAU"), own) as verb:
        until_shown(verb, b"[oui/non]")
        agent.kill()
        _, said = verb.communicate(timeout=60)
        agent.wait(60)
    assert verb.returncode == 1
    assert "L'agent s'est arrêté au milieu de la commande" in said.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert (mssgw.config.parent / "data" / "run" / places.SOCKET).exists()
    assert ran(of(mssgw, "exists")).returncode == 0
    with running(mssgw.config) as next_one:  # takes the place of the dead one's socket
        assert ran(of(mssgw, "exists")).returncode == 0
        assert next_one.acts == 1


@pytest.mark.root
def test_root_at_the_terminal_opens_its_files_as_the_owner_of_the_data(mssgw, dmp_keys):
    """As without the agent: what the service does for root, it does by its own rights."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        here.chmod(0o755)
        shutil.copytree(dmp_keys.directory, here / "keys")
        (here / "master").write_bytes(b"m" * 32)
        text = mssgw.config.read_text().replace(str(dmp_keys.directory), str(here / "keys"))
        (here / "mssgw.toml").write_text(text)
        for one in here.rglob("*"):
            one.chmod(0o755 if one.is_dir() else 0o644)
        for folder, mode in (("data", 0o700), ("out", 0o755), ("of-root", 0o755)):
            (here / folder).mkdir()
            (here / folder).chmod(mode)
            shutil.chown(here / folder, *(("root", "root") if folder == "of-root" else ("daemon", "daemon")))
        there = Mssgw(here / "mssgw.toml", mssgw.running)
        with begun(there) as agent:
            assert (Path(f"/proc/{agent.pid}").stat().st_uid, os.geteuid()) == ((here / "data").stat().st_uid, 0)
            assert ran(of(there, "find")).returncode == 0
            assert ran(of(there, "get", "1", "-o", str(here / "out" / "one.xml"))).returncode == 0
            refused = ran(of(there, "get", "1", "-o", str(here / "of-root" / "one.xml")))
            assert status(there)[1]["acts"] == 3
            agent.terminate()
            assert agent.wait(60) == 0
        assert (here / "out" / "one.xml").stat().st_uid == (here / "data").stat().st_uid
        assert refused.returncode == 1
        assert "no permission" in refused.stderr


def test_a_second_agent_of_the_same_data_is_refused(mssgw):
    with running(mssgw.config), pytest.raises(Occupied), running(mssgw.config):
        pass


def test_an_agent_that_nobody_visits_ends_by_itself(mssgw):
    with begun(mssgw, "--idle", "0") as agent:
        agent.terminate()
        assert agent.wait(60) == 0
    with running(mssgw.config, idle=timedelta(milliseconds=1)):
        pass  # leaving the block waits for its thread
