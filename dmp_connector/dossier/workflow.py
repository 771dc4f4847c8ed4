"""Run a creation: the state machine of `creation` against the store, INSi, the DMP and the patient.

Each step loads the creation, makes the transition, stores it, audits it; a process may end between any two.
The call to the DMP (TD1.1, then TD1.5a for the account) stands between READY and CREATED. Without
`legacy_dossier_management`, or when the server says so, the outcome is MANAGED_BY_MES with its sentence.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

from dmp_connector.client import Call, OtpChannel
from dmp_connector.dossier.creation import AccountAccess, Channel, Creation, Step, WrongStep
from dmp_connector.dossier.desk import Desk
from dmp_connector.errors import BadInput, DmpError, LegacyDisabled, ManagedByMes
from dmp_connector.model.dossier import AdministrativeData, Consent, ConsentBasis, ConsentMeans, Oppositions
from dmp_connector.model.people import Actor, Patient

_OTP = {Channel.EMAIL: OtpChannel.EMAIL, Channel.SMS: OtpChannel.SMS}


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Step 5 for the patient: the letter as PDF/A-1, and the text and address when it goes by e-mail."""

    channel: Channel
    letter: bytes = field(repr=False)
    address: str = ""
    subject: str = ""
    text: str = field(default="", repr=False)


class CreationWorkflow:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def start(self, actor: Actor) -> Creation:
        creation = Creation(str(uuid.uuid4()), actor.practitioner.id, self._desk.now())
        return await self._kept(actor, creation, "started")

    async def load(self, actor: Actor, identity: str) -> Creation:
        """Raises BadInput: unknown, or another professional's."""
        found = await asyncio.to_thread(self._desk.store.creation, identity)
        if found is None or found.practitioner != actor.practitioner.id:
            raise BadInput("no such creation", fr="cette création n'existe pas")
        return found

    async def identify(self, actor: Actor, creation: Creation, vitale: Patient, register: Patient, *, card_for_tests: bool) -> Creation:
        """1 Vitale and INSi."""
        production = self._desk.rules.production
        return await self._kept(
            actor, creation.identify(vitale, register, card_for_tests=card_for_tests, production=production), "identified"
        )

    async def present(self, actor: Actor, creation: Creation, information: str) -> Creation:
        """2."""
        return await self._kept(actor, creation.present(information), "informed", information=information)

    async def consent(self, actor: Actor, creation: Creation, *, means: ConsentMeans, oppositions: Oppositions) -> Creation:
        """3 The agreement is stored before anything is sent."""
        if creation.patient is None:
            raise WrongStep(f"at {creation.step}, expected informed")
        now = self._desk.now()
        agreed = Consent(creation.patient.ins, ConsentBasis.EXPLICIT, actor.practitioner, means, now, now + self._desk.rules.consent)
        after = creation.agree(agreed, oppositions)
        await asyncio.to_thread(self._desk.store.add_consent, agreed, structure=actor.structure.id)
        facts = {"means": means.value, "bris_de_glace": _said(oppositions.bris_de_glace), "centre_15": _said(oppositions.centre_15)}
        return await self._kept(actor, after, "consented", **facts)

    async def account(self, actor: Actor, creation: Creation, access: AccountAccess) -> Creation:
        """4."""
        return await self._kept(
            actor, creation.offer_account(access), "ready", channel=access.channel.value if access.channel else "declined"
        )

    async def create(self, actor: Actor, creation: Creation, *, address: tuple[str, ...] = ()) -> Creation:
        """TD1.1 and TD1.5a. CREATED or MANAGED_BY_MES; raises DossierExists and what else the server says."""
        if creation.step is not Step.READY or creation.patient is None or creation.consent is None:
            raise WrongStep(f"at {creation.step}, expected ready")
        call = Call(actor, creation.patient.ins)
        account = creation.account
        email = account.address if account and account.channel is Channel.EMAIL else ""
        mobile = account.address if account and account.channel is Channel.SMS else ""
        data = AdministrativeData(creation.patient, email=email, mobile=mobile, oppositions=creation.oppositions, **_postal(address))
        try:
            await self._desk.dmp.td11_create(call, data, consent_at=creation.consent.at, vitale=creation.vitale)
            if account and account.channel in _OTP:
                await self._desk.dmp.td15a_create_access(call, _OTP[account.channel], account.address)
        except (LegacyDisabled, ManagedByMes) as error:
            return await self._kept(actor, creation.managed_by_mes(), "managed by Mon espace santé", why=type(error).__name__)
        except DmpError as error:
            await self._desk.refused(call, "creation", error)
            raise
        return await self._kept(actor, creation.done(self._desk.now()), "created")

    async def confirm(self, actor: Actor, creation: Creation, channel: Channel, address: tuple[str, ...]) -> tuple[Creation, Confirmation]:
        """5 The receipt: the letter with the two boxes, and for e-mail the text that carries it."""
        after = creation.confirm(channel)
        if creation.patient is None or creation.consent is None:
            raise WrongStep(f"at {creation.step}, expected created")
        from dmp_connector.letters import Letterhead, creation_letter  # fpdf2 is slow to import

        head = Letterhead(actor.practitioner, actor.structure, self._desk.rules.letter_address)
        letter = await asyncio.to_thread(
            creation_letter,
            head,
            creation.patient,
            creation.consent,
            creation.oppositions,
            address,
            at=creation.created or self._desk.now(),
        )
        kept = await self._kept(actor, after, "confirmed", channel=channel.value)
        if channel is Channel.LETTER:
            return kept, Confirmation(channel, letter)
        email = creation.account.address if creation.account else ""
        text = (
            "Bonjour,\n\nVotre dossier médical partagé (DMP) a été créé. Vous trouverez sa confirmation en pièce jointe, "
            "avec vos choix sur l'accès en urgence et vos droits.\n"
        )
        return kept, Confirmation(channel, letter, email, "Création de votre dossier médical partagé", text)

    async def _kept(self, actor: Actor, creation: Creation, outcome: str, **facts: str) -> Creation:
        await asyncio.to_thread(self._desk.store.save_creation, creation, self._desk.now())
        call = Call(actor, creation.patient.ins if creation.patient else None)
        await self._desk.note(call, "creation", outcome, creation=creation.id, **facts)
        return creation


def _postal(lines: tuple[str, ...]) -> dict[str, Any]:
    """Address lines, the last one "75001 PARIS"."""
    if not lines:
        return {}
    code, _, city = lines[-1].partition(" ")
    return {"street": lines[:-1], "postal_code": code, "city": city.strip()}


def _said(opposed: bool | None) -> str:
    return "opposed" if opposed else "not opposed"
