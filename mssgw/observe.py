"""Log events and metrics: one list of each, tested against docs and dashboards.

An event is a member of `Event`; its fields are typed keys, never message content, subjects, patient data
or secrets. Mail addresses are logged (operators need them to trace) but are never metric labels; that of a citizen is
an INS (docs/reference/mssante.md 6), so `without_ins` takes the number out of every value of every line.
Configured once per process by `configure`; before that, logging is silent.
"""

from __future__ import annotations

import enum
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

from prometheus_client import Counter, Gauge, Histogram


class Event(enum.StrEnum):
    """Every line we log. `area.what_happened`."""

    STARTED = "node.started"
    NOT_STARTED = "node.not_started"
    STOPPING = "node.stopping"
    STOPPED = "node.stopped"
    CONFIG_RELOADED = "node.config_reloaded"
    CONFIG_REFUSED = "node.config_refused"
    CONFIG_WARNING = "node.config_warning"
    BUG = "node.bug"
    OUTAGE = "node.outage"
    STORE_OPENED = "store.opened"
    STORE_MIGRATED = "store.migrated"
    STORE_RETRY = "store.retry"
    STORE_COMMIT_FAILED = "store.commit_failed"
    STORE_READ_FAILED = "store.read_failed"
    STORE_DOORBELL_LOST = "store.doorbell_lost"
    STORE_BODY_MISSING = "store.body_missing"
    KEY_EXPOSED = "store.key_exposed"
    STORE_SWEPT = "store.swept"
    TRUST_LIST_ADOPTED = "trust.list_adopted"
    TRUST_LIST_REFUSED = "trust.list_refused"
    TRUST_LIST_STALE = "trust.list_stale"
    TRUST_FETCH_FAILED = "trust.fetch_failed"
    TRUST_CRL_ADOPTED = "trust.crl_adopted"
    TRUST_CRL_REFUSED = "trust.crl_refused"
    TRUST_ANCHOR_LEFT_OUT = "trust.anchor_left_out"
    TRUST_OVERRIDE = "trust.override"
    TRUST_REFUSED = "trust.refused"
    OWN_CERTIFICATE = "trust.own_certificate"
    NOTICE_UNTOLD = "trust.own_certificate_untold"
    TLS_FALLBACK = "tls.fallback"
    TLS_RELOADED = "tls.reloaded"
    RELAY_SENT = "relay.sent"
    RELAY_DEFERRED = "relay.deferred"
    RELAY_FAILED = "relay.failed"
    QUEUE_LEASE_LOST = "queue.lease_lost"
    QUEUE_STOPPED = "queue.stopped"
    QUEUE_BROUGHT_BACK = "queue.brought_back"
    REPORT_MADE = "report.made"
    REPORT_PUT_OFF = "report.put_off"
    REPORT_LOST = "report.lost"
    SMIME_DIRECTORY = "smime.directory_unreadable"
    SMIME_LDAP_FAILED = "smime.ldap_failed"
    SMIME_TOKEN_READY = "smime.token_ready"  # noqa: S105 - an event
    SMIME_TOKEN_GONE = "smime.token_gone"  # noqa: S105 - an event
    SMIME_TOKEN_LOCKED = "smime.token_locked"  # noqa: S105 - an event
    SMIME_KEY_EXPIRED = "smime.personal_key_expired"
    SMIME_KEY_UNUSABLE = "smime.personal_key_unusable"
    LOGIN_OK = "login.ok"
    LOGIN_FAILED = "login.failed"
    LOGIN_THROTTLED = "login.throttled"
    SMTP_ACCEPTED = "smtp.accepted"
    SMTP_REFUSED = "smtp.refused"
    TLS_FAILED = "tls.handshake_failed"
    ACCEPT_FAILED = "node.accept_failed"


_log: Any = None  # nobody listens before `configure`


def log(event: Event, level: Literal["debug", "info", "warning", "error"] = "info", **fields: Any) -> None:
    if _log is None:
        return
    getattr(_log, level)(event.value, **{name: _plain(value) for name, value in fields.items() if value is not None})


def log_bug(error: BaseException, **fields: Any) -> None:
    """Logs an unexpected exception with its whole stack; nothing of it goes to the peer. `core.failures` decides what is one."""
    if _log is None:
        return
    _log.error(Event.BUG.value, exc_info=(type(error), error, error.__traceback__), **fields)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) else str(value)


_NUMBER = re.compile(
    r"[0-9ABab]{13,20}(?=@patient\.)|(?<![0-9A-Za-z])([1-478][0-9]{4}(?:[0-9]{2}|2[ABab])[0-9]{6})([0-9]{2})(?![0-9A-Za-z])"
)


def without_ins(text: str) -> str:
    """The text with "(INS)" for each number that is one: the local part of a citizen's address, and 15 characters whose key holds."""
    return _NUMBER.sub(lambda found: "(INS)" if found[1] is None or _key_holds(found[1], found[2]) else found[0], text)


def _key_holds(number: str, key: str) -> bool:
    digits = number.upper().replace("2A", "19", 1).replace("2B", "18", 1) if not number.isdigit() else number
    return 97 - int(digits) % 97 == int(key)


def _masked(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {name: without_ins(value) if isinstance(value, str) else value for name, value in fields.items()}


def configure(level: str = "info", form: Literal["json", "text"] = "json") -> None:
    """Set up logging to stderr for this process. Most verbs don't, and are spared the time that loading structlog takes."""
    global _log
    import structlog

    last: Any = structlog.processors.JSONRenderer(ensure_ascii=False) if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _masked,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _log = structlog.get_logger("mssgw")


# Metrics. Labels are closed sets: no addresses, no domains, no names.
RECEIVED = Counter("mssgw_received_messages_total", "Messages accepted, by where they came from", ["origin"])
REFUSED = Counter("mssgw_refused_total", "Transactions refused or deferred, by port and enhanced status code", ["port", "enhanced"])
CONNECTIONS = Gauge("mssgw_connections", "Open connections, by port", ["port"], multiprocess_mode="livesum")
LOGINS = Counter("mssgw_logins_total", "Logins, by protocol and outcome", ["protocol", "outcome"])
DELIVERED = Counter("mssgw_delivered_recipients_total", "Recipients that reached a final state, by outcome", ["outcome"])
TRUST_DECISIONS = Counter("mssgw_trust_decisions_total", "Decisions about peers and domains, by step and reason", ["step", "reason"])
TRUST_LIST_AGE = Gauge("mssgw_trust_list_age_seconds", "Time since the list in force was last confirmed", multiprocess_mode="max")
TRUST_LIST_DOMAINS = Gauge("mssgw_trust_list_domains", "Domains on the list in force", multiprocess_mode="max")
TRUST_FETCHES = Counter("mssgw_trust_fetches_total", "Fetches of list, CRL, OCSP, by outcome", ["what", "outcome"])
OWN_EXPIRY_DAYS = Gauge(
    "mssgw_certificate_expiry_days", "Days until the first of our certificates ends, by role", ["role"], multiprocess_mode="min"
)
PERSONAL_KEY_EXPIRED = Counter(
    "mssgw_personal_key_expired_total", "Messages whose author's own certificate had ended, by what was done instead", ["then"]
)
PERSONAL_KEY_UNUSABLE = Counter(
    "mssgw_personal_key_unusable_total", "Messages whose author has a key that can't be used, by what was done instead", ["then"]
)
OWN_CERTIFICATES = Gauge("mssgw_own_certificates", "Our certificates, by role and state", ["role", "state"], multiprocess_mode="max")
NOTICES_UNTOLD = Gauge(
    "mssgw_certificate_notices_untold", "Mails about our own certificates that could not be delivered yet", multiprocess_mode="max"
)
QUEUE_WAITING = Gauge("mssgw_queue_deliveries", "Deliveries in the queue, by state", ["state"], multiprocess_mode="max")
QUEUE_OLDEST = Gauge("mssgw_queue_oldest_seconds", "Age of the oldest message in the queue", multiprocess_mode="max")
ATTEMPT_SECONDS = Histogram("mssgw_relay_attempt_seconds", "Time of one attempt to hand a message to another operator")
COMMIT_SECONDS = Histogram("mssgw_store_commit_seconds", "Time of one shared commit of the store, its work included")
COMMIT_CALLERS = Histogram("mssgw_store_commit_callers", "Callers that shared one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
ACCEPT_SECONDS = Histogram("mssgw_accept_seconds", "Time from the end of DATA to its reply, by port", ["port"])


_crash_at, _, _crash_nth = os.environ.get("MSSGW_CRASH_AT", "").partition(":")
_crash_left = int(_crash_nth or 1)
_crash_file = os.environ.get("MSSGW_CRASH_FILE", "")


def crash_point(name: str) -> None:
    """A named place where tests kill the process.

    MSSGW_CRASH_AT=name or name:n kills at the n-th pass of this process. MSSGW_CRASH_FILE=path kills once, in whichever
    process passes first after that file came to hold the name; the file is taken away, so a restarted worker lives.
    """
    global _crash_left
    if _crash_at and name == _crash_at:
        _crash_left -= 1
        if _crash_left == 0:
            os._exit(137)
    if _crash_file:
        _crash_by_file(name)


def _crash_by_file(name: str) -> None:
    try:
        with open(_crash_file, encoding="ascii") as file:
            wanted = file.read()
        if wanted != name:
            return
        os.unlink(_crash_file)
    except OSError:
        return
    os._exit(137)
