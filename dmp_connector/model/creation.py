"""Creating a dossier in five steps, as a state machine (the professional's workflow before Mon espace santé).

    STARTED -identify-> IDENTIFIED -present-> INFORMED -consent-> CONSENTED -access-> READY -created-> CREATED -confirm-> CONFIRMED
        any state before CREATED -abandon-> ABANDONED;  READY -managed-> MANAGED_BY_MES

1 identify   the Vitale is read, INSi confirms the identity: traits must agree (EX_GEN-1250); the Vitale's traits go
             to the DMP untouched, even when wrong (docs/reference/dmp.md 1.5); TD0.2 says that there is no DMP yet
2 present    the DMP is explained; which text, by whom, when
3 consent    agreement collected and stored; nothing is created without it (EX_1.1-1010); the two oppositions,
             default not opposed (EX_1.1-1050: boxes of agreement ticked by default)
4 access     the patient is offered a web account: channel and address for the one-time code, or declines
5 confirm    the confirmation goes by e-mail or letter; the letter shows the oppositions ticked or not

Since 1 July 2021 creation belongs to Mon espace santé: the call is made only with `legacy_dossier_management`,
and the server's or our own refusal ends in MANAGED_BY_MES, which is an outcome and not an error (docs/reference/dmp.md 1.5).
A call without answer is kept in the value too (`asked`, `access`): it is settled by asking the DMP (TD0.2) before any other.
The value is frozen: each step returns the next state, so that it can be stored between two and resumed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from dmp_connector.errors import BadInput, ConsentMissing, NotAllowed, TraitsDiffer, Unavailable, traits
from dmp_connector.model.code import Code
from dmp_connector.model.dossier import Consent, ConsentBasis, ConsentMeans, Oppositions
from dmp_connector.model.people import Ins, Patient, Practitioner, Sex, plain_name
from dmp_connector.texts import Message, message


class Step(enum.StrEnum):
    """Where a creation stands; the order is drawn at the top of this module."""

    STARTED = "started"
    IDENTIFIED = "identified"
    INFORMED = "informed"
    CONSENTED = "consented"
    READY = "ready"
    CREATED = "created"
    CONFIRMED = "confirmed"
    MANAGED_BY_MES = "managed_by_mes"
    ABANDONED = "abandoned"


class Channel(enum.StrEnum):
    """How the confirmation, or the one-time code of the account, reaches the patient."""

    EMAIL = "email"
    LETTER = "letter"
    SMS = "sms"


class WrongStep(NotAllowed):
    """A step out of its order. `expected` is where the workflow stands."""

    key = "error.wrong-step"


class VitaleForTests(BadInput):
    """EX_GEN-1430: test (white) and demonstration (green) cards are blocked in production."""

    key = "error.vitale-for-tests"

    def __init__(self) -> None:
        super().__init__(message("words", words="EX_GEN-1430"))


class OtherPatient(BadInput):
    """The Vitale given with a creation already begun is another person's. `fields`: names of the traits, never values."""

    key = "error.other-patient"

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__(message("words", words=traits(fields)))
        self.fields = fields


class CreationUnanswered(Unavailable):
    """The DMP was asked and nothing came back. `creation`: what `load` takes to settle it."""

    key = "error.creation-unanswered"

    def __init__(self, creation: str, cause: Unavailable) -> None:
        super().__init__(str(cause), sent=cause.sent, retry_after=cause.retry_after)
        self.creation, self.audited = creation, cause.audited

    @property
    def message(self) -> Message:
        """The sentence, and the creation that can be resumed."""
        return message(self.key, creation=self.creation)


MANAGED = message("model.managed-by-mes")


NOT_OPPOSED = Oppositions(False, False)


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """Step 4: the patient's choice. `channel` None: declined."""

    channel: Channel | None
    address: str = ""


class WebAccess(enum.StrEnum):
    """The outcome of TD1.5a. ASKED: perhaps made, no answer yet. REFUSED: by the DMP; the creation goes on without."""

    NONE = ""
    ASKED = "asked"
    MADE = "made"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, repr=False)
class Creation:
    """One creation, where it stands. `vitale`: the card's traits untouched; `patient`: as INSi qualified them.

    `asked`: when TD1.1 was sent, as long as the DMP has not answered it; kept before it is sent.
    """

    id: str
    practitioner: str
    started: datetime
    step: Step = Step.STARTED
    vitale: Patient | None = None
    patient: Patient | None = None
    information: str = ""  # which text was explained
    consent: Consent | None = None
    oppositions: Oppositions = NOT_OPPOSED
    account: AccountAccess | None = None
    asked: datetime | None = None
    created: datetime | None = None
    access: WebAccess = WebAccess.NONE
    confirmation: Channel | None = None

    def _require(self, *steps: Step) -> None:
        if self.step not in steps:
            raise WrongStep(log=f"at {self.step}, expected {' or '.join(steps)}")

    def identify(self, vitale: Patient, register: Patient, *, card_for_tests: bool = False, production: bool = False) -> Creation:
        """Step 1. Raises TraitsDiffer when INSi knows the beneficiary under other traits, VitaleForTests."""
        self._require(Step.STARTED, Step.IDENTIFIED)
        if card_for_tests and production:
            raise VitaleForTests()
        _require_coherent(vitale, register)
        return replace(self, step=Step.IDENTIFIED, vitale=vitale, patient=register)

    def require_card(self, card: Patient) -> None:
        """The card given when a creation goes on is that of its patient. Raises OtherPatient naming what differs."""
        if self.patient is None:
            return
        known = self.vitale or self.patient
        differing = [] if card.ins.same_as(known.ins) else ["INS"]
        differing += _differing(card, self.patient)
        if differing:
            raise OtherPatient(tuple(differing))

    def present(self, information: str) -> Creation:
        """Step 2. `information`: the text that was explained, by its reference."""
        self._require(Step.IDENTIFIED, Step.INFORMED)
        if not information.strip():
            raise BadInput(message("model.say-which-information-patient-given"))
        return replace(self, step=Step.INFORMED, information=information)

    def agree(self, consent: Consent, oppositions: Oppositions) -> Creation:
        """Step 3. Raises ConsentMissing unless the agreement is explicit and about this patient."""
        self._require(Step.INFORMED, Step.CONSENTED)
        if consent.basis is not ConsentBasis.EXPLICIT:
            raise ConsentMissing(log="creation needs an explicit agreement (EX_1.1-1010)")
        if self.patient is None or consent.ins != self.patient.ins:
            raise ConsentMissing(log="the agreement is of another person")
        stated = Oppositions(bool(oppositions.bris_de_glace), bool(oppositions.centre_15))
        return replace(self, step=Step.CONSENTED, consent=consent, oppositions=stated)

    def offer_account(self, account: AccountAccess) -> Creation:
        """Step 4. Raises BadInput: a channel without address."""
        self._require(Step.CONSENTED, Step.READY)
        if account.channel is not None and not account.address.strip():
            raise BadInput(message("model.channel-needs-address", channel=account.channel))
        return replace(self, step=Step.READY, account=account)

    def asking(self, at: datetime | None) -> Creation:
        """Note that TD1.1 is about to be sent, so that a lost answer is noticed; None: it is certain that nothing was done."""
        self._require(Step.READY)
        return replace(self, asked=at)

    def accessed(self, access: WebAccess) -> Creation:
        """Note the outcome of TD1.5a."""
        self._require(Step.CREATED)
        return replace(self, access=access)

    @property
    def owed_access(self) -> AccountAccess | None:
        """The web account that the patient chose and the DMP has not answered yet."""
        chosen = self.account if self.account and self.account.channel in {Channel.EMAIL, Channel.SMS} else None
        return chosen if self.step is Step.CREATED and self.access in {WebAccess.NONE, WebAccess.ASKED} else None

    def done(self, at: datetime) -> Creation:
        """The DMP accepted TD1.1."""
        self._require(Step.READY)
        return replace(self, step=Step.CREATED, created=at, asked=None)

    def managed_by_mes(self) -> Creation:
        """Note that the dossier is managed by Mon espace santé: today's outcome."""
        self._require(Step.STARTED, Step.IDENTIFIED, Step.INFORMED, Step.CONSENTED, Step.READY)
        return replace(self, step=Step.MANAGED_BY_MES)

    def confirm(self, channel: Channel) -> Creation:
        """Step 5: the confirmation was sent or printed."""
        self._require(Step.CREATED, Step.CONFIRMED)
        if channel is Channel.SMS:
            raise BadInput(message("model.confirmation-goes-e-mail-letter"))
        return replace(self, step=Step.CONFIRMED, confirmation=channel)

    def abandon(self) -> Creation:
        """Given up before a DMP was created: nothing of the patient is kept. Raises WrongStep after that."""
        self._require(Step.STARTED, Step.IDENTIFIED, Step.INFORMED, Step.CONSENTED, Step.READY, Step.ABANDONED)
        return Creation(self.id, self.practitioner, self.started, Step.ABANDONED)


def _require_coherent(vitale: Patient, register: Patient) -> None:
    """Beneficiary of the card and person of the register are one (docs/reference/dmp.md 8.2): birth date, and a name in common.

    The card's names are often the used ones and cut, so its used name may meet the register's birth name.
    """
    if differing := _differing(vitale, register):
        raise TraitsDiffer(tuple(differing))


def _differing(vitale: Patient, register: Patient) -> list[str]:
    differing = []
    if vitale.birth_date != register.birth_date:
        differing.append("birth date")
    card = {plain_name(n) for n in (vitale.birth_name, vitale.used_name or "") if n}
    known = {plain_name(n) for n in (register.birth_name, register.used_name or "") if n}
    if not any(a.startswith(b) or b.startswith(a) for a in card for b in known):
        differing.append("birth name")
    if plain_name(vitale.first_given)[:3] != plain_name(register.first_given)[:3]:
        differing.append("given names")
    return differing


# ------------------------------------------------------------------------------------ between two steps, as JSON


def to_plain(creation: Creation) -> dict[str, Any]:
    """For the store: plain JSON values. Administrative, never clinical."""
    consent, account = creation.consent, creation.account
    return {
        "id": creation.id,
        "practitioner": creation.practitioner,
        "started": creation.started.isoformat(),
        "step": creation.step.value,
        "vitale": _patient_plain(creation.vitale),
        "patient": _patient_plain(creation.patient),
        "information": creation.information,
        "consent": consent_plain(consent) if consent else None,
        "oppositions": [bool(creation.oppositions.bris_de_glace), bool(creation.oppositions.centre_15)],
        "account": [account.channel.value if account.channel else None, account.address] if account else None,
        "asked": creation.asked.isoformat() if creation.asked else None,
        "created": creation.created.isoformat() if creation.created else None,
        "access": creation.access.value,
        "confirmation": creation.confirmation.value if creation.confirmation else None,
    }


def from_plain(plain: Mapping[str, Any]) -> Creation:
    """The creation of such values; the inverse of `to_plain`. Raises KeyError, ValueError for anything else."""
    consent, account = plain["consent"], plain["account"]
    return Creation(
        id=plain["id"],
        practitioner=plain["practitioner"],
        started=datetime.fromisoformat(plain["started"]),
        step=Step(plain["step"]),
        vitale=_patient(plain["vitale"]),
        patient=_patient(plain["patient"]),
        information=plain["information"],
        consent=consent_value(consent) if consent else None,
        oppositions=Oppositions(*plain["oppositions"]),
        account=AccountAccess(Channel(account[0]) if account[0] else None, account[1]) if account else None,
        asked=datetime.fromisoformat(plain["asked"]) if plain.get("asked") else None,  # not in older rows
        created=datetime.fromisoformat(plain["created"]) if plain["created"] else None,
        access=WebAccess(plain.get("access", "")),
        confirmation=Channel(plain["confirmation"]) if plain["confirmation"] else None,
    )


def _patient_plain(patient: Patient | None) -> dict[str, Any] | None:
    if patient is None:
        return None
    return {
        "ins": [patient.ins.value, patient.ins.oid],
        "names": [patient.birth_name, patient.given_names, patient.used_name, patient.used_given],
        "born": patient.birth_date.isoformat(),
        "sex": patient.sex.value,
        "place": patient.birth_place,
    }


def _patient(plain: Mapping[str, Any] | None) -> Patient | None:
    if plain is None:
        return None
    birth_name, given, used, used_given = plain["names"]
    return Patient(
        Ins(*plain["ins"]), birth_name, given, date.fromisoformat(plain["born"]), Sex(plain["sex"]), plain["place"], used, used_given
    )


def consent_plain(consent: Consent) -> dict[str, Any]:
    """A consent as plain JSON values."""
    by = consent.collected_by
    return {
        "ins": [consent.ins.value, consent.ins.oid],
        "basis": consent.basis.value,
        "means": consent.means.value,
        "at": consent.at.isoformat(),
        "until": consent.until.isoformat(),
        "by": [by.id, by.family, by.given, _code_plain(by.profession), _code_plain(by.speciality)],
    }


def consent_value(plain: Mapping[str, Any]) -> Consent:
    """The inverse of `consent_plain`. Raises KeyError, ValueError for anything else."""
    identity, family, given, profession, speciality = plain["by"]
    return Consent(
        Ins(*plain["ins"]),
        ConsentBasis(plain["basis"]),
        Practitioner(identity, family, given, Code(*profession), Code(*speciality) if speciality else None),
        ConsentMeans(plain["means"]),
        datetime.fromisoformat(plain["at"]),
        datetime.fromisoformat(plain["until"]),
    )


def _code_plain(code: Code | None) -> list[str] | None:
    return [code.code, code.system, code.label] if code else None
