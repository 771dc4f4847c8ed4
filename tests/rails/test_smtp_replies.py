"""Every reply our SMTP ports can give is explained in docs/smtp.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [
    "smtpd/*.py",
    "protocol/smtp.py",
    "protocol/sasl.py",
    "identity/*.py",
    "flow/content.py",
    "flow/delivery.py",
    "flow/head.py",
    "flow/inbound.py",
    "flow/login.py",
    "flow/submission.py",
    "flow/throttle.py",
]
SAID = (
    re.compile(r'code=(\d{3}), enhanced="(\d\.\d+\.\d+)"'),
    re.compile(r'fault\("[^"]*", (\d{3}), "(\d\.\d+\.\d+)"'),
    re.compile(r'Reply\((\d{3}), "(\d\.\d+\.\d+)"'),
)


def test_every_reply_is_explained() -> None:
    explained = set(re.findall(r"\b(\d{3}) (\d\.\d+\.\d+)", (ROOT / "docs" / "smtp.md").read_text()))
    sources = [path.read_text() for pattern in SOURCES for path in (ROOT / "mssgw").glob(pattern)]
    said = {pair for source in sources for form in SAID for pair in form.findall(source)}
    assert len(said) > 20
    assert not said - explained
