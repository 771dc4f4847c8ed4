"""Which certificate a recipient is encrypted to, and why: every candidate in the order of the node, judged as the node judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mssgw.core.errors import MailError
from mssgw.core.texts import Message, message
from mssgw.pki.judgement import Validate
from mssgw.smime.directories.candidate import Candidate
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.protecting import Policy, Reader, reader


@dataclass(frozen=True, slots=True)
class View:
    """A candidate; `reader` says how it is encrypted to, `refused` why it is not."""

    candidate: Candidate
    certificate: Certificate | None
    reader: Reader | None
    refused: Message | None
    detail: str
    chosen: bool = False


def views(candidates: Sequence[Candidate], policy: Policy, now: datetime, validate: Validate) -> list[View]:
    """All of them; the first that can be used is the chosen one."""
    found: list[View] = []
    for one in candidates:
        own = _certificate(one)
        try:
            usable = reader(one, policy, now, validate)
        except MailError as error:
            said = error.message if error.message.key != "words" else message("words", words=error.detail or error.reply.text)
            found.append(View(one, own, None, said, error.detail))
        else:
            found.append(View(one, own, usable, None, "", chosen=not any(each.chosen for each in found)))
    return found


def _certificate(one: Candidate) -> Certificate | None:
    try:
        return certificate(one.certificate)
    except SmimeError:
        return None
