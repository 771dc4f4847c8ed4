"""The signed national list of domains ("liste blanche"): first verified, then read.

Order, the first failure is the answer:

    size cap -> well-formed, without DTD (entities and network are off) -> root element and namespace
    -> exactly one Signature, child of the root, with exactly one Reference URI="", the two known transforms,
       allowed algorithms, one X509Certificate and nothing else                                        SIGNATURE
    -> digest and signature under that certificate (signxml)                                           SIGNATURE
    -> read *only* the tree that the verifier returns: canonical octets, comments gone                 NOT_A_LIST
    -> the certificate is one that may sign the list: our own validator, subject CN by setting         SIGNER, …

`open_signed` does all but the last step and needs no trust data, so it can run in another process (`open_apart`),
where its hundred megabytes and tenth of a second don't burden the worker. Its result is called Unjudged,
because anyone can sign a list with their own certificate; `judge` turns it into a Whitelist.

An entry that can't be read (no domain, no name) is left out and reported; the others count.
Source: the genuine list of 2025-02-28, measured; there is no public schema.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from mssgw.core.address import AddressError, parse_domain
from mssgw.core.errors import MailError, NotTrusted
from mssgw.core.texts import Message, message
from mssgw.pki.judgement import Evidence, Purpose, Validate
from mssgw.trust import paths
from mssgw.trust.faults import Fault, fault_of, refusal, spoken
from mssgw.trust.revocation import SKEW

if TYPE_CHECKING:
    from mssgw.trust import xmlsig

NAMESPACE: Final = "https://listeblanche.mssante.fr/schema"
DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
ENVELOPED: Final = f"{DSIG}enveloped-signature"
EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
STRONGER_SIGNATURES: Final = frozenset(
    f"http://www.w3.org/2001/04/xmldsig-more#{name}"
    for name in ("rsa-sha384", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512")
)
STRONGER_DIGESTS: Final = frozenset({"http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmlenc#sha512"})
MAX_OCTETS: Final = 33_554_432
MAX_ENTRIES: Final = 200_000
MAX_FIELD: Final = 1024  # the authority's tool stops at 255
APART_SECONDS: Final = 120.0


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One `<Domaine>`. `subject` is text as it stands in the list, not yet read as a name."""

    domain: str
    subject: str
    description: str = ""
    responsible: str = ""
    support: str = ""
    updated: str = ""


class Unjudged(msgspec.Struct, frozen=True):
    """A list whose signature holds under the certificate it carries; that certificate has not been judged yet."""

    sha256: str
    generated_at: datetime
    signer: bytes  # DER
    entries: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...] = ()  # (what stands there, why it doesn't count)


class Whitelist(msgspec.Struct, frozen=True):
    """A list that counts, and the evidence for it."""

    sha256: str
    generated_at: datetime
    entries: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...]
    signer: Evidence


def verify(
    octets: bytes, validate: Validate, signer_common_names: Collection[str], at: datetime, *, stronger: bool = True, limit: int = MAX_OCTETS
) -> Whitelist:
    """Everything at once, in this process. Raises NotTrusted or Deferred."""
    return judge(open_signed(octets, stronger=stronger, limit=limit), validate, signer_common_names, at)


def judge(unjudged: Unjudged, validate: Validate, signer_common_names: Collection[str], at: datetime) -> Whitelist:
    """Check that the signer may sign the list at that time. Without names: any certificate that the validator accepts for LIST_SIGN.

    Raises NotTrusted or Deferred.
    """
    evidence = validate(unjudged.signer, Purpose.LIST_SIGN, at)
    common_name = paths.read(unjudged.signer).subject.first("CN").strip().casefold()
    if signer_common_names and common_name not in {name.strip().casefold() for name in signer_common_names}:
        raise refusal(
            Fault.SIGNER,
            subject=spoken(evidence.subject, 120),
            what=message("trust.what.signer-name", names=tuple(signer_common_names)),
        )
    return Whitelist(unjudged.sha256, unjudged.generated_at, unjudged.entries, unjudged.left_out, evidence)


def require_past(generated_at: datetime, now: datetime) -> None:
    """Raises NotTrusted for a list made after `now`."""
    if generated_at > now + SKEW:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.future", at=f"{generated_at:%Y-%m-%dT%H:%M:%SZ}"))


# -- in this process -----------------------------------------------------------------------------------------------


def open_signed(octets: bytes, *, stronger: bool = True, limit: int = MAX_OCTETS, contacts: bool = True) -> Unjudged:
    """Check the signature and read what it covers. Without `contacts`, descriptions and contacts are left empty.

    Raises NotTrusted (SIGNATURE, NOT_A_LIST).
    """
    from mssgw.trust import xmlsig  # lxml and signxml: 20 MB that a worker never loads, see `open_apart`

    if len(octets) > limit:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.large", octets=len(octets), most=limit))
    methods = frozenset({RSA_SHA256}) | (STRONGER_SIGNATURES if stronger else frozenset())
    digests = frozenset({SHA256}) | (STRONGER_DIGESTS if stronger else frozenset())
    root, signer = xmlsig.verified(octets, f"{{{NAMESPACE}}}ListeBlancheMSSante", methods, digests)
    generated_at = _generated_at(root)
    entries: list[Entry] = []
    left_out: list[tuple[str, str]] = []
    for entry in _entries(root):
        try:
            rest = _rest(entry)
            entries.append(Entry(parse_domain(entry.domain.strip()), *(rest if contacts else rest[:1])))
        except (AddressError, ValueError) as error:
            left_out.append((entry.domain[:MAX_FIELD], str(error)))
        if len(entries) > MAX_ENTRIES:
            raise refusal(Fault.NOT_A_LIST, what=message("trust.list.entries", most=MAX_ENTRIES))
    if not entries:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.no-domain"))
    return Unjudged(hashlib.sha256(octets).hexdigest(), generated_at, signer, tuple(entries), tuple(left_out))


_FIELDS: Final = ("Nom", "DNCertificatOperateur", "Description", "ResponsableContact", "SupportContact", "DateMAJ")


def _generated_at(root: xmlsig.Element) -> datetime:
    found = root.findall(f"{{{NAMESPACE}}}DateDeGeneration")
    text = _text(found[0]) if len(found) == 1 else ""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.date", given=spoken(text))) from None


def _entries(root: xmlsig.Element) -> Iterator[Entry]:
    lists = root.findall(f"{{{NAMESPACE}}}ListeDomaines")
    if len(lists) != 1:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.lists", found=len(lists)))
    for domaine in lists[0].iterchildren(f"{{{NAMESPACE}}}Domaine"):
        fields: dict[str, str] = {}
        for child in domaine:
            name = child.tag.removeprefix(f"{{{NAMESPACE}}}") if isinstance(child.tag, str) else ""
            if name in fields:
                raise refusal(Fault.NOT_A_LIST, what=message("trust.list.twice", line=domaine.sourceline, name=name))
            if name in _FIELDS:
                fields[name] = _text(child)
        yield Entry(*(fields.get(name, "") for name in _FIELDS))


def _text(element: xmlsig.Element) -> str:
    if len(element):  # an element or a processing instruction would cut the text short
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.more-than-text", line=element.sourceline))
    return element.text or ""


def _rest(entry: Entry) -> tuple[str, str, str, str, str]:
    """The fields after the domain. Interned where they repeat thousands of times."""
    if not entry.subject.strip():
        raise ValueError("no DNCertificatOperateur")
    rest = entry.subject, entry.description, entry.responsible, entry.support, entry.updated
    if any(len(field) > MAX_FIELD for field in rest):
        raise ValueError(f"a field is longer than {MAX_FIELD} characters")
    return sys.intern(rest[0]), rest[1], sys.intern(rest[2]), sys.intern(rest[3]), rest[4]


# -- in another process --------------------------------------------------------------------------------------------


_Fact: TypeAlias = str | tuple[str, dict[str, str]]  # words, or the key and the values of a message


class _Failure(msgspec.Struct):
    fault: Fault
    facts: dict[str, _Fact]


class Stopped(Exception):
    """The process that read a list was asked to end, as the whole service is: nothing is decided about the list."""


async def open_apart(octets: bytes, *, stronger: bool = True, limit: int = MAX_OCTETS) -> Unjudged:
    """`open_signed` without contacts, in a short-lived process of its own. Raises the same, OSError when the process fails, Stopped."""
    return await asyncio.to_thread(_open_apart, octets, "stronger" if stronger else "plain", str(limit))


def _open_apart(octets: bytes, *arguments: str) -> Unjudged:
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, our own arguments
            [sys.executable, "-m", "mssgw.trust.whitelist", *arguments],
            input=octets,
            capture_output=True,
            timeout=APART_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"reading the list took more than {APART_SECONDS:g} s") from error
    if done.returncode in (-signal.SIGTERM, -signal.SIGINT):
        raise Stopped
    if done.returncode:
        raise OSError(f"reading the list failed with status {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    if done.stdout[:1] == b"!":
        failure = msgspec.msgpack.decode(done.stdout[1:], type=_Failure)
        facts: dict[str, Any] = {
            name: fact if isinstance(fact, str) else message(fact[0], **fact[1]) for name, fact in failure.facts.items()
        }
        raise refusal(failure.fault, **facts)
    return msgspec.msgpack.decode(done.stdout, type=Unjudged)


def _main(arguments: list[str]) -> None:
    stronger, limit = arguments
    octets = sys.stdin.buffer.read(int(limit) + 1)
    try:
        output = msgspec.msgpack.encode(open_signed(octets, stronger=stronger == "stronger", limit=int(limit), contacts=False))
    except NotTrusted as error:
        output = b"!" + msgspec.msgpack.encode(_failure(error))
    sys.stdout.buffer.write(output)


def _failure(error: MailError) -> _Failure:
    facts: dict[str, _Fact] = {
        name: (fact.key, {key: str(value) for key, value in fact.values}) if isinstance(fact, Message) else str(fact)
        for name, fact in error.message.values
    }
    fault = fault_of(error)
    assert fault is not None, "what is wrong with a list is a fault"
    return _Failure(fault, facts)


if __name__ == "__main__":
    _main(sys.argv[1:])
