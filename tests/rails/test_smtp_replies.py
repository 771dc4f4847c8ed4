"""docs/smtp.md explains the replies that our ports give, docs/queue.md those that our own sender finds: all, and no other."""

from __future__ import annotations

from collections.abc import Iterable

from tests.rails.agree import agree
from tests.rails.replies import Pair, documented, modules, of_faults, sent

OUT = ("relay/*.py", "flow/sender.py", "flow/bounce.py")
ONLY_IMAP_OR_VERBS = [
    "flow/mailboxes.py",
    "store/accounts.py",
    "store/mailboxes/model.py",
    "store/mailboxes/tree.py",
    "store/mailboxes/renaming.py",
    "store/queue/office.py",
]
BESIDE = ["flow/sender.py", "flow/bounce.py", *ONLY_IMAP_OR_VERBS]
IN = ("smtpd/*.py", "protocol/**/*.py", "flow/*.py", "identity/*.py", "smime/**/*.py", "store/**/*.py", "trust/*.py")


def shown(pairs: Iterable[Pair]) -> list[str]:
    return [f"{code} {enhanced}" for code, enhanced in pairs]


def test_every_reply_of_a_port_is_explained_and_no_other() -> None:
    found, computed = sent(modules(*IN, but=BESIDE))
    assert computed == [
        "protocol/smtp.py:_address",  # its callers pass the enhanced code
        "smtpd/connection.py:fault",  # its callers pass both
        "trust/faults.py:refusal",  # of_faults
        "trust/faults.py:rewritten",  # its callers pass the enhanced code
    ]
    said = found.keys() | of_faults()
    agree("docs/smtp.md, Replies", shown(documented("smtp.md")), shown(said))


def test_every_reply_of_the_sender_is_explained_and_no_other() -> None:
    found, computed = sent(modules(*OUT))
    assert computed == [
        "relay/client.py:_content",  # 451, with the enhanced code of what was lost: 4.4.2 or 4.5.0
        "relay/client.py:explained",  # that of the error
        "relay/outbound.py:_all_failed",  # that of the last host
        "relay/wire.py:reply",  # the peer's own
    ]
    agree("docs/queue.md, Replies", shown(documented("queue.md")), shown(found))
