"""TrustSpace: who may talk to whom, as a frozen snapshot. A refresh makes a new one.

A domain is trusted exactly as it is listed (517 sub-domains are listed beside their parents, so nothing is
inherited), and its operators are the *subjects* it is listed with, never names in a SAN. One domain may have several
operators, one operator many domains. Every refusal names the attribute that differs, and both values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from mssgw.core.address import Domain
from mssgw.core.envelope import OperatorId
from mssgw.core.texts import Message, message
from mssgw.pki import names
from mssgw.pki.names import Match, Name
from mssgw.trust.faults import Fault, refusal, spoken
from mssgw.trust.whitelist import Entry, Whitelist

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """One listed subject. `id` is it as RFC 4514 text, from the list."""

    id: OperatorId
    name: Name

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True)
class TrustSpace:
    """The list in force. All look-ups are one dictionary access."""

    generated_at: datetime
    sha256: str
    match: Match
    domains: Mapping[Domain, tuple[Operator, ...]]
    operators: Mapping[Key, frozenset[Domain]]  # by Name.key, or lenient_key
    unreadable: tuple[tuple[str, str], ...] = ()  # (domain and subject, why the subject is no name)
    entries: int = 0
    descriptions: Mapping[Domain, Entry] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, whitelist: Whitelist, match: Match = Match.STRICT) -> TrustSpace:
        return build(whitelist.entries, whitelist.generated_at, whitelist.sha256, match, whitelist.left_out)

    @property
    def listed(self) -> str:
        """How a refusal dates the list."""
        return f"{self.generated_at:%Y-%m-%d}"

    def key(self, name: Name) -> Key:
        return name.key if self.match is Match.STRICT else name.lenient_key

    def require_listed(self, domain: Domain) -> tuple[Operator, ...]:
        """The operators of a domain. Raises NotTrusted (550 5.1.2) when it is not on the list itself."""
        found = self.domains.get(domain)
        if found is None:
            raise refusal(Fault.UNLISTED, domain=spoken(domain, 100), listed=self.listed)
        return found

    def require(self, domain: Domain, presented: Name) -> Operator:
        """The operator of `domain` that has this subject. Raises NotTrusted, which names what differs."""
        operators = self.require_listed(domain)
        wanted = self.key(presented)
        for operator in operators:
            if wanted and self.key(operator.name) == wanted:
                return operator
        raise self._mismatch(domain, operators, presented, wanted)

    def require_any(self, presented: Name) -> Operator:
        """The listed operator that has this subject, whatever its domains. Raises NotTrusted."""
        wanted = self.key(presented)
        domains = self.operators.get(wanted) if wanted else None
        if not domains:
            raise refusal(Fault.UNLISTED_PEER, subject=spoken(str(presented), 160))
        return next(operator for operator in self.domains[next(iter(domains))] if self.key(operator.name) == wanted)

    def runs(self, structure: Name, domain: Domain) -> bool:
        """Whether a structure is a listed operator of the domain: one identifier of a structure (OU) is the same in both names.

        A name of a person is none of a structure, whatever identifiers it carries.
        """
        if any(structure.first(attribute) for attribute in ("GN", "SN", "TITLE")):
            return False
        own = _structures(structure)
        return any(not own.isdisjoint(_structures(operator.name)) for operator in self.domains.get(domain, ()))

    def domains_of(self, operator: Operator) -> frozenset[Domain]:
        return self.operators.get(self.key(operator.name), frozenset())

    def _mismatch(self, domain: Domain, operators: tuple[Operator, ...], presented: Name, wanted: Key) -> Exception:
        differences = min((names.explain(presented, operator.name) for operator in operators), key=len, default=[])
        what = tuple(_said(difference) for difference in differences[:2]) or message("trust.what.no-name")
        subject = spoken(presented.first("CN") or str(presented))
        detail = f"presented {presented}; listed {' | '.join(operator.id for operator in operators[:5])}"
        if wanted in self.operators:
            return refusal(Fault.OTHER_DOMAIN, subject=subject, domain=spoken(domain, 100), detail=detail)
        fault = Fault.CN_DIFFERS if any(each.attribute == "CN" for each in differences) else Fault.DN_DIFFERS
        return refusal(fault, domain=spoken(domain, 100), what=what, detail=detail)


_STRUCTURE = re.compile(r"(?:0002 ?)?[0-9][0-9A-Z]{8,14}\Z")  # idNatStruct: FINESS, SIREN, SIRET, or a number of the IGC-Santé


def _structures(name: Name) -> frozenset[str]:
    """The identifiers of structures in a name, in one spelling."""
    found = (value.strip().upper() for kind, value in name.attributes if kind == "OU")
    return frozenset(value.removeprefix("0002").strip() for value in found if _STRUCTURE.match(value))


def _said(difference: names.Difference) -> Message:
    name, presented, listed = difference.attribute, repr(spoken(difference.presented, 48)), repr(spoken(difference.listed, 48))
    if not difference.presented:
        return message("trust.what.missing", name=name, listed=listed)
    if not difference.listed:
        return message("trust.what.not-in-list", name=name, presented=presented)
    return message("trust.what.differs", name=name, presented=presented, listed=listed)


def build(
    entries: Iterable[Entry],
    generated_at: datetime,
    sha256: str = "",
    match: Match = Match.STRICT,
    left_out: tuple[tuple[str, str], ...] = (),
) -> TrustSpace:
    """Index a list. An entry whose subject is no name is left out and reported; the others count."""
    operators: dict[str, Operator | str] = {}
    domains: dict[Domain, tuple[Operator, ...]] = {}
    by_subject: dict[Key, set[Domain]] = {}
    descriptions: dict[Domain, Entry] = {}
    unreadable = list(left_out)
    count = 0
    for entry in entries:
        count += 1
        domain = Domain(entry.domain)
        descriptions.setdefault(domain, entry)
        known = domains.setdefault(domain, ())
        operator = operators.get(entry.subject)
        if operator is None:
            operator = operators[entry.subject] = _operator(entry.subject)
        if isinstance(operator, str):
            unreadable.append((f"{domain}: {entry.subject}", operator))
            continue
        key = operator.name.key if match is Match.STRICT else operator.name.lenient_key
        if operator not in known:
            domains[domain] = (*known, operator)
        if key:
            by_subject.setdefault(key, set()).add(domain)
    return TrustSpace(
        generated_at,
        sha256,
        match,
        MappingProxyType(domains),
        MappingProxyType({key: frozenset(found) for key, found in by_subject.items()}),
        tuple(unreadable),
        count,
        MappingProxyType(descriptions),
    )


def _operator(subject: str) -> Operator | str:
    try:
        name = names.parse(subject)
    except names.NameSyntaxError as error:
        return str(error)
    return Operator(OperatorId(str(name)), name)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new list changes: domains, and operators (subjects) of domains that stay."""

    added: tuple[Domain, ...]
    removed: tuple[Domain, ...]
    operators_added: tuple[tuple[Domain, str], ...]
    operators_removed: tuple[tuple[Domain, str], ...]


def diff(old: TrustSpace, new: TrustSpace) -> Changes:
    """Sorted by domain. Operators are compared as subjects, so a respelled name is no change."""
    added = tuple(sorted(new.domains.keys() - old.domains.keys()))
    removed = tuple(sorted(old.domains.keys() - new.domains.keys()))
    gained: list[tuple[Domain, str]] = []
    lost: list[tuple[Domain, str]] = []
    for domain in sorted(new.domains.keys() & old.domains.keys()):
        before = {operator.name.key: operator.id for operator in old.domains[domain]}
        after = {operator.name.key: operator.id for operator in new.domains[domain]}
        gained += [(domain, after[key]) for key in sorted(after.keys() - before.keys())]
        lost += [(domain, before[key]) for key in sorted(before.keys() - after.keys())]
    return Changes(added, removed, tuple(gained), tuple(lost))
