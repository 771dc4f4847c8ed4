"""Mailboxes against a model: random work on the real store and on dictionaries must have the same result.

A session that only follows `changes_since` must always reach what `snapshot` returns: IMAP clients depend on
it. Restarts happen in between; at the end `store.check` must find nothing.
"""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mssgw import store as store_package
from mssgw.core.errors import NotFound
from mssgw.store import mailboxes
from mssgw.store.mailboxes import FlagOp
from tests.conftest import TestClock, make_config
from tests.fuzz import examples
from tests.store.messages import new_account, new_message

NAMES = ["INBOX", "Sent", "a", "a/b", "c"]
names = st.sampled_from(NAMES)
flag_sets = st.frozensets(st.sampled_from(["\\Seen", "\\Deleted", "\\Flagged", "$Done"]))
picks = st.lists(st.integers(1, 14), max_size=6)


class Box:
    """What a mailbox should be."""

    def __init__(self):
        self.messages: dict[int, tuple[frozenset[str], int]] = {}  # uid -> flags, which message
        self.uidnext = 1

    def add(self, flags, number):
        self.messages[self.uidnext] = (flags, number)
        self.uidnext += 1
        return self.uidnext - 1


class Session:
    """A client that has seen a mailbox and follows its changes."""

    def __init__(self, snapshot):
        self.box, self.modseq = snapshot.mailbox.id, snapshot.mailbox.modseq
        self.flags = dict(zip(snapshot.uids, snapshot.flags, strict=True))

    def follow(self, changes):
        for change in changes.added:
            assert change.uid not in self.flags
            self.flags[change.uid] = change.flags
        for change in changes.flags:
            assert change.uid in self.flags
            self.flags[change.uid] = change.flags
        for uid in changes.expunged:
            self.flags.pop(uid, None)
        assert changes.modseq >= self.modseq
        self.modseq = changes.modseq


class Mailboxes(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.directory = tempfile.TemporaryDirectory(prefix="mssgw-model-")
        self.loop = asyncio.new_event_loop()
        self.config = make_config(Path(self.directory.name))
        store_package.migrate(self.config)
        self.clock = TestClock()
        self.store = self.run(store_package.open(self.config, self.clock, worker="w"))
        self.account = self.run(new_account(self.store)).id
        self.model: dict[str, Box] = {"INBOX": Box(), "Sent": Box()}
        self.sessions: list[Session] = []
        self.prepared = [self.run(new_message(self.store, number, size=100 + number)) for number in range(3)]

    def run(self, task):
        return self.loop.run_until_complete(task)

    def write(self, function):
        return self.run(self.store.write(function))

    def read(self, function):
        return self.run(self.store.read(function))

    def id_of(self, name):
        found = self.read(lambda rx: mailboxes.by_name(rx, self.account, name))
        assert (found is not None) == (name in self.model)
        return found and found.id

    # -- rules ---------------------------------------------------------------------------------------

    @rule(name=names)
    def create(self, name):
        if self.id_of(name) is None:
            self.write(lambda tx: mailboxes.create(tx, self.account, name))
            for depth in range(1, name.count("/") + 2):
                self.model.setdefault("/".join(name.split("/")[:depth]), Box())

    @rule(name=st.sampled_from(["a", "a/b", "c"]))
    def delete(self, name):
        if self.id_of(name) is not None:
            self.write(lambda tx: mailboxes.delete(tx, self.account, name))
            del self.model[name]

    @rule(old=st.sampled_from(["a", "c"]), new=st.sampled_from(["c", "d"]))
    def rename(self, old, new):
        taken = any(name == new or name.startswith(new + "/") for name in self.model)
        if old in self.model and not taken:
            self.write(lambda tx: mailboxes.rename(tx, self.account, old, new))
            for name in [name for name in self.model if name == old or name.startswith(old + "/")]:
                self.model[new + name[len(old) :]] = self.model.pop(name)

    @rule(name=names, given=st.lists(st.tuples(flag_sets, st.integers(0, 2)), min_size=1, max_size=4))
    def append(self, name, given):
        if (box := self.id_of(name)) is not None:
            news = [mailboxes.NewMessage(self.prepared[number].content, flags) for flags, number in given]
            uids = self.write(lambda tx: mailboxes.append_many(tx, box, news))
            assert uids == [self.model[name].add(flags, number) for flags, number in given]

    @rule(name=names, uids=picks, op=st.sampled_from(FlagOp), flags=flag_sets)
    def flag(self, name, uids, op, flags):
        if (box := self.id_of(name)) is None:
            return
        stored = self.write(lambda tx: mailboxes.store_flags(tx, box, uids, op, flags))
        messages, changed = self.model[name].messages, []
        for uid in sorted(set(uids) & set(messages)):
            old, number = messages[uid]
            new = {FlagOp.SET: flags, FlagOp.ADD: old | flags, FlagOp.REMOVE: old - flags}[op]
            messages[uid] = (new, number)
            if new != old:
                changed.append(uid)
        assert [change.uid for change in stored.changed] == changed

    @rule(name=names, uids=st.none() | picks)
    def expunge(self, name, uids):
        if (box := self.id_of(name)) is not None:
            messages = self.model[name].messages
            expected = [uid for uid in sorted(messages) if "\\Deleted" in messages[uid][0] and (uids is None or uid in uids)]
            assert self.write(lambda tx: mailboxes.expunge(tx, box, uids)) == expected
            for uid in expected:
                del messages[uid]

    @rule(source=names, into=names, uids=st.none() | picks, moving=st.booleans())
    def copy(self, source, into, uids, moving):
        from_box, to_box = self.id_of(source), self.id_of(into)
        if from_box is None or to_box is None:
            return
        work = mailboxes.move if moving else mailboxes.copy
        copied = self.write(lambda tx: work(tx, from_box, uids, to_box))
        chosen = sorted(set(self.model[source].messages) & set(self.model[source].messages if uids is None else uids))
        expected = [(uid, self.model[into].add(*self.model[source].messages[uid])) for uid in chosen]
        assert copied.uids == expected
        if moving:
            for uid in chosen:
                del self.model[source].messages[uid]

    @rule(name=names)
    def look(self, name):
        if (box := self.id_of(name)) is not None and len(self.sessions) < 4:
            self.sessions.append(Session(self.read(lambda rx: mailboxes.snapshot(rx, box))))

    @rule()
    def restart(self):
        self.run(self.store.close())
        self.clock.advance(60)
        self.store = self.run(store_package.open(self.config, self.clock, worker="w"))

    # -- what always holds ---------------------------------------------------------------------------

    @invariant()
    def the_store_tells_what_the_model_tells(self):
        if not hasattr(self, "model"):
            return
        for name, expected in self.model.items():
            box = self.id_of(name)
            seen = self.read(lambda rx, box=box: mailboxes.snapshot(rx, box))
            assert dict(zip(seen.uids, seen.flags, strict=True)) == {uid: flags for uid, (flags, _) in expected.messages.items()}
            assert seen.mailbox.uidnext == expected.uidnext
            rows = self.read(lambda rx, box=box: mailboxes.rows(rx, box, None))
            blobs = [self.prepared[number].content.blob for _, (_, number) in sorted(expected.messages.items())]
            assert [row.blob for row in rows] == blobs

    @invariant()
    def sessions_that_follow_see_the_same(self):
        for session in list(getattr(self, "sessions", ())):
            try:
                session.follow(self.read(lambda rx, session=session: mailboxes.changes_since(rx, session.box, session.modseq)))
            except NotFound:
                self.sessions.remove(session)
                continue
            seen = self.read(lambda rx, session=session: mailboxes.snapshot(rx, session.box))
            assert session.flags == dict(zip(seen.uids, seen.flags, strict=True))
            assert session.modseq == seen.mailbox.modseq

    def teardown(self):
        if hasattr(self, "store"):
            problems = self.run(self.store.check())
            self.run(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.directory.cleanup()
            assert problems == []


TestMailboxes = Mailboxes.TestCase
TestMailboxes.settings = settings(max_examples=examples(25), stateful_step_count=25, deadline=None)
