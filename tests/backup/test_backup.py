"""`mssgw backup` and `mssgw restore`, as people run them: nothing is lost, nothing is overwritten, nothing broken is put back."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmp_connector.model import Consent, ConsentBasis, ConsentMeans
from mssgw import store as store_package
from mssgw.backup import manifest
from mssgw.backup.errors import BackupError
from mssgw.backup.restoring import _placed
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.dossier.setup import open_store
from mssgw.store import dump, mailboxes, snapshot
from mssgw.store.sweep import files_held, names_of_files
from tests.cli.desk import Node, mssgw
from tests.dmp.conftest import RPPS, practitioner
from tests.dmp.dossier.test_store import AT, INS, deposit, record
from tests.store.messages import DOMAIN, inbox_of, new_message
from tests.users import open_directory
from tests.world import until

ROOT = Path(__file__).parents[2]
LARGE = 300_000  # octets: a body with a file of its own


@pytest.fixture
def place(tmp_path):
    return tmp_path / "backups"


@pytest.fixture
def node(tmp_path):
    """A node with an account whose INBOX has three messages, one of them large."""
    home = tmp_path / "etc"
    home.mkdir()
    node = Node(home)
    mssgw("seal", "new-key", home / "master.key")
    (home / "anchors" / "root.pem").write_text("-- an authority --")
    node("account", "add", f"alice@{DOMAIN}", "--no-password")
    fill(node, 1, 2, large=3)
    return node


def opened(node, use):
    """`use(store)` on the node's store."""

    async def work():
        store = await store_package.open(load(node.config), SystemClock(), worker="test")
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(work())


async def _inbox(store):
    from mssgw.core.address import Address
    from mssgw.store import accounts

    return await inbox_of(store, await store.read(lambda rx: accounts.by_address(rx, Address("alice", DOMAIN))))


def fill(node, *numbers, large=None):
    async def work(store):
        box = await _inbox(store)
        for number in numbers:
            message = await new_message(store, number, flags=frozenset({"\\Seen"}))
            await store.write(lambda tx, message=message: mailboxes.append(tx, box, message))
        if large:
            message = await new_message(store, large, size=LARGE)
            await store.write(lambda tx: mailboxes.append(tx, box, message))

    opened(node, work)


def backup(node, place, status=0):
    return json.loads(run(node, "backup", place, "--json", status=status).stdout)


def run(node, *arguments, status=0):
    done = mssgw(*arguments, "--config", node.config)
    assert done.returncode == status, (done.stdout + done.stderr).decode()
    return done


def restore(*arguments, status=0):
    done = mssgw("restore", *arguments)
    assert done.returncode == status, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


def folders(node):
    return {box["name"]: box["messages"] for box in node("mailbox", "list", f"alice@{DOMAIN}", "--json")}


# -- taking ----------------------------------------------------------------------------------------------


def test_a_backup_holds_all_but_the_master_key_and_is_its_owners_alone(node, place, tmp_path):
    key = (tmp_path / "etc" / "master.key").read_bytes()
    (tmp_path / "etc" / "anchors" / "a-copy.bin").write_bytes(key)  # wherever it lies
    (tmp_path / "etc" / "data" / "trust").mkdir(exist_ok=True)
    (tmp_path / "etc" / "data" / "trust" / "list.xml").write_text("the last good list")
    made = Path(backup(node, place)["backup"])
    files = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    etc = f"config{tmp_path}/etc"
    assert {f"{etc}/mssgw.toml", f"{etc}/anchors/root.pem", "mail.sqlite", "data/trust/list.xml", "manifest.json"} <= files
    assert any(name.startswith("blobs/") for name in files)
    assert not any(path.read_bytes() == key for path in made.rglob("*") if path.is_file())
    assert not {name for name in files if name.endswith(("-wal", "-shm", ".lock"))}
    for path in [made, *made.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert {file.path for file in manifest.load(made).files} == files - {"manifest.json"}


def test_what_the_verb_prints(node, place):
    done = run(node, "backup", place)
    assert "Sauvegarde terminée" in done.stdout.decode()
    assert "Backup complete" in done.stdout.decode()
    said = done.stderr.decode()
    assert "master.key) is not in the backup" in said
    assert "mail store: 100 %" in said
    assert "message bodies: 100 %" in said


def test_the_second_backup_costs_only_what_is_new(node, place):
    first, second = Path(backup(node, place)["backup"]), None
    fill(node, large=77)
    second = Path(backup(node, place)["backup"])
    bodies = {path.name: path.stat() for path in (second / "blobs").rglob("*") if path.is_file()}
    old = {path.name: path.stat() for path in (first / "blobs").rglob("*") if path.is_file()}
    assert len(old) == 1
    assert len(bodies) == 2
    assert all(bodies[name].st_ino == found.st_ino for name, found in old.items())
    shutil.rmtree(first)  # an older one can be removed at any time
    restore_verify(place)


def restore_verify(place, status=0):
    done = mssgw("backup", "verify", place)
    assert done.returncode == status, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


def test_a_body_that_was_lost_is_named_and_the_rest_is_kept(node, place, tmp_path):
    (lost,) = (path for path in (tmp_path / "etc" / "data" / "blobs").rglob("*") if path.is_file())
    lost.unlink()
    document = backup(node, place, status=1)
    assert [name.partition("/")[2] for name in document["missing"]] == [lost.name]
    restore_verify(place)


def rot(path):
    """One bit of it, its size and dates unchanged."""
    found = path.stat()
    octets = bytearray(path.read_bytes())
    octets[1000] ^= 1
    path.write_bytes(octets)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def the_body(made):
    (body,) = (path for path in (made / "blobs").rglob("*") if path.is_file())
    return body


def test_a_body_that_rotted_in_the_backup_before_is_named_and_copied_anew(node, place):
    """Regression: it was linked into each new backup, which said complete; all of them were damaged."""
    first = Path(backup(node, place)["backup"])
    second = Path(backup(node, place)["backup"])
    rot(the_body(first))
    done = run(node, "backup", place, "--json")
    document = json.loads(done.stdout)
    assert document["damaged_before"] == [str(the_body(first).relative_to(first))]
    assert f"{second} is no longer intact: 1 message bodies changed" in done.stderr.decode()
    restore_verify(first, status=1)
    restore_verify(place)  # the third
    assert backup(node, place)["damaged_before"] == []


def test_a_body_that_rotted_in_an_interrupted_backup_is_copied_anew(node, place):
    """Regression: what lay there was taken for whole, and its hash for the right one."""
    child(node, "backup.before_rename", "backup", str(place), "--config", str(node.config))
    (partial,) = place.glob("*.partial")
    body = the_body(partial)
    good = body.read_bytes()
    rot(body)
    assert the_body(Path(backup(node, place)["backup"])).read_bytes() == good


def test_a_body_lost_here_and_rotten_there_is_missing_and_not_taken_for_whole(node, place, tmp_path):
    rot(the_body(Path(backup(node, place)["backup"])))
    the_body(tmp_path / "etc" / "data").unlink()
    document = backup(node, place, status=1)
    assert len(document["missing"]) == 1


def test_a_backup_whose_manifest_is_broken_stops_no_later_one_and_is_named(node, place):
    """Regression: every later backup was refused until it was removed."""
    broken = Path(backup(node, place)["backup"])
    (broken / "manifest.json").write_text("{")
    assert f"{broken}: the manifest of this backup can't be read" in run(node, "backup", place).stderr.decode()
    restore_verify(place)


def dated(made, when):
    """Rename a backup, and give it a date, as if it had been taken then by this machine's clock."""
    document = json.loads((made / "manifest.json").read_text())
    (made / "manifest.json").write_text(json.dumps(document | {"made": when.isoformat()}))
    return made.rename(made.with_name(when.strftime("%Y%m%dT%H%M%SZ")))


def test_the_backup_taken_last_is_chosen_by_its_number_and_one_of_the_future_is_named(node, place, tmp_path):
    """Regression: one made while the clock was ahead was taken for the newest for days, and mail since was lost."""
    future = dated(Path(backup(node, place)["backup"]), datetime.now(UTC) + timedelta(days=10))
    fill(node, 4)
    done = run(node, "backup", place, "--json")
    last = json.loads(done.stdout)["backup"]
    assert f"{future} is dated" in done.stderr.decode()
    said = restore_verify(place)
    assert f"{future} is dated" in said
    assert f"The one taken last, by their numbers, is {last}" in said
    shutil.rmtree(tmp_path / "etc" / "data")
    said = restore(place, "--config", node.config)
    assert f"{future} is dated" in said
    assert folders(node)["INBOX"] == 4
    assert "in the future" in restore_verify(future)
    assert "in the future" not in restore_verify(last)


def test_a_body_lost_since_comes_from_the_backup_before(node, place, tmp_path):
    backup(node, place)
    (lost,) = (path for path in (tmp_path / "etc" / "data" / "blobs").rglob("*") if path.is_file())
    lost.unlink()
    assert backup(node, place)["missing"] == []


def test_a_target_inside_the_data_is_refused(node, tmp_path):
    done = run(node, "backup", tmp_path / "etc" / "data" / "backups", status=1)
    assert "inside the data directory" in done.stderr.decode()
    assert not (tmp_path / "etc" / "data" / "backups").exists()


def test_two_at_a_time_in_one_directory_are_refused(node, place):
    place.mkdir()
    with (place / "backup.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "Another backup" in run(node, "backup", place, status=1).stderr.decode()


def test_the_sweep_removes_no_body_during_a_backup(node, tmp_path):
    blobs = tmp_path / "etc" / "data" / "blobs"
    orphan = blobs / "00" / "orphan"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x")
    os.utime(orphan, (0, 0))  # older than any date the test runs on
    with files_held(tmp_path / "etc" / "data"):
        assert opened(node, lambda store: store.sweep(-1)).files == 0
    assert orphan.exists()
    assert opened(node, lambda store: store.sweep(-1)).files == 1


# -- interrupted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["backup.database", "backup.body", "backup.before_rename"])
def test_an_interrupted_backup_is_seen_as_such_and_taken_up(node, place, point):
    done = child(node, point, "backup", str(place), "--config", str(node.config))
    assert done.returncode == 137, done.stderr
    (partial,) = place.glob("*.partial")
    assert "no backup" in restore_verify(place, status=1)
    assert "interrupted" in restore_verify(partial, status=1)
    whole = {path.name: path.stat().st_ino for path in (partial / "blobs").rglob("*") if path.is_file()}
    made = Path(backup(node, place)["backup"])
    assert not list(place.glob("*.partial"))
    kept = {path.name: path.stat().st_ino for path in (made / "blobs").rglob("*") if path.is_file()}
    assert all(kept[name] == inode for name, inode in whole.items())  # not copied again
    restore_verify(place)


def child(node, point, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "mssgw", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"MSSGW_CRASH_AT": point},
        check=False,
    )


@pytest.mark.parametrize("point", ["restore.before_places", "restore.moved"])
def test_an_interrupted_restore_stops_the_node_and_is_done_again(node, place, tmp_path, point):
    backup(node, place)
    shutil.rmtree(tmp_path / "etc" / "data")
    done = child(node, point, "restore", str(place), "--config", str(node.config))
    assert done.returncode == 137, done.stderr
    assert "restore was interrupted" in node("account", "add", f"bob@{DOMAIN}", "--no-password", status=1)
    restore(place, "--config", node.config)
    assert folders(node)["INBOX"] == 3


def test_a_lost_machine_gets_its_directories_as_they_were(node, place, tmp_path):
    """Regression: the directories came back closed to the service's group, and the node could not read its configuration."""
    home, anchors = tmp_path / "etc", tmp_path / "etc" / "anchors"
    home.chmod(0o751)
    anchors.chmod(0o755)
    backup(node, place)
    made = max(place.glob("*/manifest.json")).parent
    shutil.rmtree(home)
    _placed(manifest.load(made), made, force=False, now=datetime.now(UTC))
    assert (home.stat().st_mode & 0o777, anchors.stat().st_mode & 0o777) == (0o751, 0o755)
    assert (anchors / "root.pem").exists()


# -- broken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["changed", "gone", "added"])
def test_a_damaged_backup_is_named_and_never_put_back(node, place, tmp_path, how):
    made = Path(backup(node, place)["backup"])
    (body,) = (path for path in (made / "blobs").rglob("*") if path.is_file())
    match how:
        case "changed":
            octets = bytearray(body.read_bytes())
            octets[1000] ^= 1
            body.write_bytes(octets)
        case "gone":
            body.unlink()
        case "added":
            (made / "stranger").write_text("?")
    named = "stranger" if how == "added" else body.name
    assert named in restore_verify(place, status=1)
    shutil.rmtree(tmp_path / "etc" / "data")
    assert named in restore(place, "--config", node.config, status=1)
    assert not (tmp_path / "etc" / "data").exists()


def test_a_path_that_leads_out_of_the_backup_is_refused(node, place):
    made = Path(backup(node, place)["backup"])
    document = json.loads((made / "manifest.json").read_text())
    document["files"][0]["path"] = "config/../../../etc/passwd"
    (made / "manifest.json").write_text(json.dumps(document))
    assert "manifest" in restore_verify(made, status=1)


def test_a_manifest_without_a_directory_of_its_files_is_refused(node, place):
    made = Path(backup(node, place)["backup"])
    document = json.loads((made / "manifest.json").read_text())
    lost = document["folders"].pop()["path"]
    (made / "manifest.json").write_text(json.dumps(document))
    assert f"no {lost}" in restore_verify(made, status=1)


def test_a_manifest_of_another_version_or_cut_is_a_sentence(node, place):
    made = Path(backup(node, place)["backup"])
    octets = (made / "manifest.json").read_bytes()
    (made / "manifest.json").write_bytes(octets.replace(b'"version": 1', b'"version": 2'))
    assert "version 2" in restore_verify(made, status=1)
    (made / "manifest.json").write_bytes(octets[:-40])
    assert "can't be read" in restore_verify(made, status=1)


def test_a_wrong_master_key_is_refused_before_anything_is_put_in_place(node, place, tmp_path):
    backup(node, place)
    shutil.rmtree(tmp_path / "etc" / "data")
    (tmp_path / "etc" / "master.key").write_bytes(bytes(32))
    assert "not that of this backup" in restore(place, status=1)
    (tmp_path / "etc" / "master.key").unlink()
    assert "restore the key from its copy" in restore(place, status=1)
    assert not (tmp_path / "etc" / "data").exists()


# -- restoring -------------------------------------------------------------------------------------------


def test_everything_but_the_key_was_lost_and_comes_back(node, place, tmp_path):
    (tmp_path / "etc" / "anchors" / "root.pem").chmod(0o640)
    backup(node, place)
    key = (tmp_path / "etc" / "master.key").read_bytes()
    shutil.rmtree(tmp_path / "etc")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "master.key").write_bytes(key)
    (tmp_path / "etc" / "master.key").chmod(0o600)
    said = restore(place)
    assert "Restored and checked" in said
    assert (tmp_path / "etc" / "anchors" / "root.pem").read_text() == "-- an authority --"
    assert stat.S_IMODE((tmp_path / "etc" / "anchors" / "root.pem").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "etc" / "data").stat().st_mode) == 0o700
    assert folders(node)["INBOX"] == 3
    assert node("check").splitlines()[-1] == "ok"
    fill(node, 9)  # and lives
    assert folders(node)["INBOX"] == 4


def test_data_that_is_there_is_never_overwritten(node, place, tmp_path):
    backup(node, place)
    fill(node, 10)
    assert "is not empty" in restore(place, status=1)
    assert folders(node)["INBOX"] == 4
    said = restore(place, "--force")
    (aside,) = (tmp_path / "etc").glob("data.before-restore-*")
    assert str(aside) in said
    assert (aside / "store.db").exists()
    assert folders(node)["INBOX"] == 3


def test_a_file_of_the_configuration_that_differs_stays_unless_forced(node, place, tmp_path):
    backup(node, place)
    anchor = tmp_path / "etc" / "anchors" / "root.pem"
    anchor.write_text("-- a newer authority --")
    shutil.rmtree(tmp_path / "etc" / "data")
    assert "root.pem is there and differs" in restore(place)
    assert anchor.read_text() == "-- a newer authority --"
    restore(place, "--force")
    assert anchor.read_text() == "-- an authority --"
    (old,) = anchor.parent.glob("root.pem.before-restore-*")
    assert old.read_text() == "-- a newer authority --"


def test_a_running_node_is_not_restored_over(node, place, tmp_path):
    backup(node, place)
    with (tmp_path / "etc" / "data" / "serve.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "pid 4711" in restore(place, "--force", status=1)
    assert folders(node)["INBOX"] == 3


# -- single mailboxes and messages -----------------------------------------------------------------------


def test_a_mailbox_comes_back_as_new_messages_beside_those_that_are_there(node, place, tmp_path):
    backup(node, place)

    async def lose(store):
        box = await _inbox(store)
        rows = await store.read(lambda rx: mailboxes.rows(rx, box, None))
        await store.write(lambda tx: mailboxes.remove(tx, box, [row.uid for row in rows]))

    opened(node, lose)
    fill(node, 50)
    said = restore(place, "--config", node.config, "--mailbox", f"alice@{DOMAIN}/INBOX")
    assert "Restauré/INBOX: 3 message(s) added, 0 there already" in said
    assert folders(node)["INBOX"] == 1
    assert folders(node)["Restauré/INBOX"] == 3
    assert node("check").splitlines()[-1] == "ok"
    said = restore(place, "--config", node.config, "--mailbox", f"alice@{DOMAIN}")  # repeated: nothing twice
    assert "0 message(s) added, 3 there already" in said
    referred = opened(node, lambda store: store.read(names_of_files))
    there = (tmp_path / "etc" / "data" / "blobs").glob("??/*")
    assert {f"{path.parent.name}/{path.name}" for path in there} == referred  # Regression: a copy of each large body stayed

    async def look(store):
        def rows(rx):
            from mssgw.core.address import Address
            from mssgw.store import accounts

            box = mailboxes.by_name(rx, accounts.by_address(rx, Address("alice", DOMAIN)).id, "Restauré/INBOX")
            return mailboxes.rows(rx, box.id, None, mailboxes.Want.ENVELOPE)

        found = await store.read(rows)
        bodies = [(await store.blobs.read(row.content)) for row in found]
        return found, [body.read() for body in bodies]

    rows, bodies = opened(node, look)
    assert [row.flags for row in rows] == [frozenset({"\\Seen"}), frozenset({"\\Seen"}), frozenset()]
    assert [len(body) for body in bodies][-1] == LARGE
    assert b"Message-ID: <1@" in bodies[0]
    assert rows[0].envelope == b"(envelope of 300)"


def test_killed_while_it_puts_messages_back_it_is_done_again(node, place):
    backup(node, place)
    mailbox = ("restore", str(place), "--config", str(node.config), "--mailbox", f"alice@{DOMAIN}")
    done = child(node, "restore.messages", *mailbox)
    assert done.returncode == 137, done.stderr
    assert "0 message(s) added, 3 there already" in restore(place, *mailbox[2:])
    assert folders(node)["Restauré/INBOX"] == 3
    assert node("check").splitlines()[-1] == "ok"


def test_a_mailbox_of_before_a_rotation_is_opened_by_the_former_key_beside_the_present_one(node, place, tmp_path):
    """Regression: the advice was to put the old key back, on a node that runs with the new one."""
    backup(node, place)
    key = tmp_path / "etc" / "master.key"
    key.rename(tmp_path / "etc" / "old.key")
    mssgw("seal", "new-key", key)
    text = node.config.read_text()
    node.config.write_text(text.replace('master_key = "file:master.key"', 'master_key = "file:master.key"\nformer_key = "file:old.key"'))
    node("seal", "rotate")
    node.config.write_text(text)
    mailbox = ("--config", node.config, "--mailbox", f"alice@{DOMAIN}")
    said = restore(place, *mailbox, status=1)
    assert "name the key of that time beside it, from its copy: [seal] former_key" in said
    assert "put the key of that time back" not in said
    node.config.write_text(text.replace('master_key = "file:master.key"', 'master_key = "file:master.key"\nformer_key = "file:old.key"'))
    assert "3 message(s) added" in restore(place, *mailbox)


def test_a_disk_of_its_own_with_its_lost_and_found_counts_as_empty(node, place, tmp_path):
    backup(node, place)
    shutil.rmtree(tmp_path / "etc" / "data")
    (tmp_path / "etc" / "data" / "lost+found").mkdir(parents=True)
    (tmp_path / "etc" / "data").chmod(0o700)
    assert "Restored and checked" in restore(place, "--config", node.config)
    (tmp_path / "etc" / "data" / "lost+found" / "#12").write_text("of fsck")
    made = Path(backup(node, place)["backup"])
    assert not [path for path in made.rglob("*") if "lost+found" in str(path)]


def test_one_message_by_its_message_id(node, place):
    backup(node, place)
    said = restore(place, "--config", node.config, "--mailbox", f"alice@{DOMAIN}", "--message-id", f"<2@{DOMAIN}>")
    assert "Restauré/INBOX: 1 message(s) added" in said
    assert "no message" in restore(place, "--config", node.config, "--mailbox", f"alice@{DOMAIN}", "--message-id", "<none@x>", status=1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("bob@alpha.mssante.test", "no account bob@"),
        (f"alice@{DOMAIN}/Nowhere", "no folder Nowhere"),
        (f"alice@{DOMAIN}/Sent", "no message"),
    ],
)
def test_what_is_not_in_the_backup_is_named(node, place, asked, said):
    backup(node, place)
    assert said in restore(place, "--config", node.config, "--mailbox", asked, status=1)
    assert not [name for name in folders(node) if name.startswith("Restauré")]


@pytest.mark.parametrize("which", ["mail.sqlite", "a body"])
def test_a_mailbox_is_not_read_from_a_backup_that_was_changed(node, place, which):
    """Regression: only the restore of the whole compared hashes."""
    made = Path(backup(node, place)["backup"])
    path = made / which if which == "mail.sqlite" else next(one for one in (made / "blobs").rglob("*") if one.is_file())
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)
    said = restore(place, "--config", node.config, "--mailbox", f"alice@{DOMAIN}", status=1)
    assert f"1 files are missing, changed or do not belong there: {path.relative_to(made)}" in said
    assert not [name for name in folders(node) if name.startswith("Restauré")]


@pytest.mark.root
@pytest.mark.parametrize("closed", ["backups", "one backup", "its manifest", "a file"])
def test_a_backup_that_the_user_may_not_read_is_named_with_who_may(node, place, closed):
    """Regression: "no backup, and holds none that is complete"."""
    backup(node, place)
    with open_directory() as base:
        shutil.copytree(place, base / "backups")
        made = manifest.find(base / "backups")
        for path in (base / "backups", made, *made.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        parts = {"backups": made.parent, "one backup": made, "its manifest": made / "manifest.json", "a file": made / "mail.sqlite"}
        parts[closed].chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(BackupError) as caught:
                verified(made if closed == "a file" else made.parent)
        finally:
            os.seteuid(0)
    assert caught.value.fault == "backup.closed"
    assert "which belongs to root; run this as root" in str(caught.value)
    assert "nobody may not read" in str(caught.value)


def verified(source):
    found = manifest.find(source)
    return manifest.verify(manifest.load(found), found, lambda *_: None)


def test_reading_a_backup_changes_nothing_in_it(node, place):
    made = Path(backup(node, place)["backup"])
    before = {path: path.stat().st_mtime_ns for path in [made, *made.rglob("*")]}
    restore(place, "--config", node.config, "--mailbox", f"alice@{DOMAIN}")
    assert {path: path.stat().st_mtime_ns for path in [made, *made.rglob("*")]} == before


# -- under load ------------------------------------------------------------------------------------------


def test_every_message_acknowledged_before_a_backup_is_in_it_while_mail_flows(node, place, tmp_path):
    said = tmp_path / "acknowledged"
    with said.open("w") as out:
        writer = subprocess.Popen([sys.executable, "-m", "tests.backup.writer", str(node.config)], cwd=ROOT, stdout=out)
    try:
        rounds = []
        for _ in range(3):
            seen = len(acknowledged(said))
            until("mail flows", lambda seen=seen: len(acknowledged(said)) > seen + 10)
            before = acknowledged(said)
            rounds.append((before, backup(node, place)))
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    restore_verify(place)
    for before, made in rounds:
        shutil.rmtree(tmp_path / "etc" / "data")
        assert "Restored and checked" in restore(made["backup"], "--config", node.config)
        assert before <= opened(node, _blobs)


def acknowledged(said):
    """Whole lines only."""
    return set(said.read_text().rpartition("\n")[0].split())


async def _blobs(store):
    box = await _inbox(store)
    return {row.blob for row in await store.read(lambda rx: mailboxes.rows(rx, box, None))}


# -- the DMP store ---------------------------------------------------------------------------------------


def test_audit_consents_and_pending_deposits_of_the_dmp_come_back(node, place, tmp_path):
    with node.config.open("a") as config:
        config.write('[dmp]\nurl = "https://dmp.test/si-dmp-server/v2/services"\nanchors = "anchors"\n')
    store = open_store(load(node.config), node.config)
    store.record(record(what="TD2.1", reason="bris de glace"))
    store.add_consent(Consent(INS, ConsentBasis.EXPLICIT, practitioner(), ConsentMeans.ORAL, AT, AT + timedelta(days=1)), structure="S")
    store.accept_deposit(deposit(content=b"the CDA itself"))
    store.close()
    made = Path(backup(node, place)["backup"])
    assert not any(b"the CDA itself" in path.read_bytes() for path in made.rglob("*") if path.is_file())
    shutil.rmtree(tmp_path / "etc" / "data")
    restore(place, "--config", node.config)
    store = open_store(load(node.config), node.config)
    try:
        assert [(one.what, one.reason) for one in store.audit()] == [("TD2.1", "bris de glace")]
        assert store.latest_consent(INS, practitioner=RPPS).until == AT + timedelta(days=1)
        (pending,) = store.pending_deposits()
        assert (pending.unique_id, pending.content) == ("1.2.3", b"the CDA itself")
        assert store.check() == []
    finally:
        store.close()


# -- PostgreSQL ------------------------------------------------------------------------------------------


@pytest.mark.peer("pg_dump", "pg_restore")
def test_postgresql_by_its_own_programs(pg, tmp_path, place):
    home = tmp_path / "etc"
    home.mkdir()
    node = Node(home)
    name = pg.create()
    node.config.write_text(node.config.read_text().replace('data = "data"', f'data = "data"\nstore = "{pg.url(name)}"'))
    mssgw("seal", "new-key", home / "master.key")
    node("account", "add", f"alice@{DOMAIN}", "--no-password")
    fill(node, 1, 2, large=3)
    pg.sql("CREATE TABLE of_somebody_else (id int)", name)
    made = backup(node, place)
    assert Path(made["backup"], "mail.pgdump").stat().st_mode & 0o777 == 0o600
    fill(node, 4)
    shutil.rmtree(home / "data")
    assert "into an empty database" in restore(place, status=1)
    other = pg.create()
    pg.drop(name)
    pg.sql(f"ALTER DATABASE {other} RENAME TO {name}")
    assert "Restored and checked" in restore(place)
    assert folders(node)["INBOX"] == 3
    fill(node, 5)  # sequences are right


@pytest.fixture
def pg_node(pg, tmp_path):
    """A node on PostgreSQL with three messages, one of them large, and tabs, line ends and a backslash in a folder's name and a password."""
    home = tmp_path / "etc"
    home.mkdir()
    node = Node(home)
    node.config.write_text(node.config.read_text().replace('data = "data"', f'data = "data"\nstore = "{pg.url(pg.create())}"'))
    mssgw("seal", "new-key", home / "master.key")
    node("account", "add", f"alice@{DOMAIN}", "--name", "A \\N\tB\nC é", "--no-password")
    fill(node, 1, 2, large=3)
    return node


@pytest.mark.peer("pg_dump", "pg_restore")
def test_one_mailbox_from_a_backup_of_postgresql(pg_node, place, pg):
    """Regression: it was refused; the whole had to be restored elsewhere first."""
    databases = pg.sql("SELECT count(*) FROM pg_database")
    made = Path(backup(pg_node, place)["backup"])
    asked = ("--config", pg_node.config, "--mailbox", f"alice@{DOMAIN}")
    assert "Restauré/INBOX: 1 message(s) added" in restore(place, *asked, "--message-id", f"<2@{DOMAIN}>")
    assert "Restauré/INBOX: 2 message(s) added, 1 there already" in restore(place, *asked)
    assert pg_node("check").splitlines()[-1] == "ok"
    assert pg.sql("SELECT count(*) FROM pg_database") == databases
    with (made / "mail.pgdump").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    assert "mail.pgdump. Use an earlier or later backup" in restore(place, *asked, status=1)


@pytest.mark.peer("pg_dump", "pg_restore")
def test_a_dump_becomes_the_same_rows(pg_node, place, tmp_path):
    made = Path(backup(pg_node, place)["backup"])
    dump.as_sqlite(made / "mail.pgdump", tmp_path / "rows.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "rows.sqlite")) as connection:
        assert connection.execute("SELECT display_name FROM account").fetchall() == [("A \\N\tB\nC é",)]
        assert connection.execute("SELECT count(*), min(length(hash)), max(typeof(created)) FROM content").fetchall() == [
            (3, 32, "integer")
        ]
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'audit'").fetchall() == [(0,)]


@pytest.mark.peer("pg_restore")
def test_what_is_no_dump_is_refused(tmp_path):
    (tmp_path / "mail.pgdump").write_bytes(b"not a dump")
    with pytest.raises(snapshot.SnapshotFailed, match="pg_restore: "):
        dump.as_sqlite(tmp_path / "mail.pgdump", tmp_path / "rows.sqlite")


@pytest.mark.peer("pg_dump")
def test_without_pg_dump_a_postgresql_store_is_not_half_backed_up(pg, tmp_path, place, monkeypatch):
    home = tmp_path / "etc"
    home.mkdir()
    node = Node(home)
    node.config.write_text(node.config.read_text().replace('data = "data"', f'data = "data"\nstore = "{pg.url(pg.create())}"'))
    mssgw("seal", "new-key", home / "master.key")
    node("account", "add", f"alice@{DOMAIN}", "--no-password")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "pg_dump is not installed" in run(node, "backup", place, status=1).stderr.decode()
    assert manifest.complete(place) == ([], [])
