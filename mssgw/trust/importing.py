"""`mssgw trust import-anchors`: bring authorities into the directory of anchors, on their fingerprint alone.

From a file (PEM, DER, p7b) or an address; the way doesn't matter, because only pinned authorities are taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from mssgw.core.clock import SystemClock
from mssgw.core.texts import Message, NotThere, message
from mssgw.pki.certificates import Certificate
from mssgw.trust import anchors, disk
from mssgw.trust.anchors import PkiName
from mssgw.trust.fetch import Fetcher, FetchError

MAX_OCTETS = 4_194_304


@dataclass(frozen=True, slots=True)
class Imported:
    taken: tuple[Certificate, ...]
    refused: tuple[Message, ...]


def octets_of(source: str) -> bytes:
    """The octets of a file or an address. Raises OSError."""
    if not source.startswith(("http://", "https://")):
        return Path(source).read_bytes()
    try:
        fetched = asyncio.run(Fetcher(SystemClock(), seconds=30).get(source, MAX_OCTETS))
    except FetchError as error:
        raise NotThere("trust.not-fetched", source=source, why=error) from error
    return fetched.content or b""


def take(octets: Iterable[tuple[str, bytes]], directory: Path, pki: PkiName, fingerprints: Sequence[str]) -> Imported:
    """Write each authority that may stand in this PKI as a PEM file. Leaves and foreign authorities are refused."""
    taken: dict[str, Certificate] = {}
    refused: list[Message] = []
    for source, each in octets:
        try:
            found = anchors.read_bundle(each)
        except ValueError:
            refused.append(message("at", place=source, what=message("trust.anchors.no-certificate")))
            continue
        for certificate in found:
            problems = anchors.strangers([certificate], pki, fingerprints)
            if not certificate.is_ca:
                problems = [message("trust.anchors.leaf", name=certificate.subject)]
            refused += [message("at", place=source, what=problem) for problem in problems]
            if not problems:
                taken[certificate.fingerprint] = certificate
    for certificate in taken.values():
        name = "".join(char if char.isalnum() else "-" for char in certificate.label.lower())
        pem = certificate.parsed.public_bytes(serialization.Encoding.PEM)
        disk.write(directory / f"{name}-{certificate.fingerprint[:8]}.pem", pem, public=True)  # the service reads what root brings
    return Imported(tuple(taken.values()), tuple(refused))
