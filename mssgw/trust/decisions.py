"""Every decision of trust is reported once: a metric by reason and, through a function of the caller's, an audit row."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from mssgw.core.errors import MailError
from mssgw.observe import TRUST_DECISIONS, Event, log
from mssgw.pki.judgement import Purpose
from mssgw.trust.faults import fault_of


class Step(enum.StrEnum):
    """At which step of a mail trust is asked; decides the role of the certificate."""

    MAIL = "mail"  # MAIL FROM domain against the connected peer
    FROM = "from"  # header From domain against the connected peer
    NULL = "null-sender"  # MAIL FROM:<> : any listed operator
    RCPT = "rcpt"  # whether the recipient's domain is listed
    RELAY = "relay"  # recipients' domain against the server we are about to hand mail to
    LIST = "list"  # a new list

    @property
    def purpose(self) -> Purpose:
        return Purpose.RELAY_SERVER if self is Step.RELAY else Purpose.RELAY_CLIENT


@dataclass(frozen=True, slots=True)
class Decision:
    step: Step
    outcome: str  # trusted | refused | deferred | adopted | override
    reason: str  # "ok" or a Fault
    domain: str = ""
    operator: str = ""  # subject
    certificate: str = ""  # SHA-256
    detail: str = ""


Tell = Callable[[Decision], None]


def tell(decision: Decision, audit: Tell | None) -> None:
    TRUST_DECISIONS.labels(decision.step.value, decision.reason).inc()
    if decision.outcome in ("refused", "deferred"):
        log(
            Event.TRUST_REFUSED if decision.step is not Step.LIST else Event.TRUST_LIST_REFUSED,
            "warning",
            step=decision.step.value,
            reason=decision.reason,
            domain=decision.domain or None,
            operator=decision.operator or None,
            certificate=decision.certificate or None,
            detail=decision.detail or None,
        )
    if audit:
        audit(decision)


def refused(step: Step, error: MailError, *, domain: str = "", certificate: str = "") -> Decision:
    fault = fault_of(error)
    return Decision(
        step,
        "deferred" if error.temporary else "refused",
        fault.value if fault else "other",
        domain,
        certificate=certificate,
        detail=f"{error.reply.text}" + (f" ({error.detail})" if error.detail else ""),
    )
