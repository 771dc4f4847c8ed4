"""Run a creation: the state machine of `creation` against the store, INSi, the DMP and the patient.

Each step loads the creation, makes the transition, stores it, audits it; a process may end between any two.
The call to the DMP (TD1.1) stands between READY and CREATED, TD1.5a for the account after it. Without
`legacy_dossier_management`, or when the server answers so, the outcome is MANAGED_BY_MES with its sentence.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dmp_connector.client import Call, OtpChannel
from dmp_connector.dossier.desk import Desk
from dmp_connector.errors import (
    BadInput,
    DmpError,
    DossierClosed,
    DossierExists,
    LegacyDisabled,
    ManagedByMes,
    NotAllowed,
    Refused,
    Unavailable,
)
from dmp_connector.model.creation import AccountAccess, Channel, Creation, CreationUnanswered, Step, WebAccess, WrongStep
from dmp_connector.model.dossier import AdministrativeData, Consent, ConsentBasis, ConsentMeans, Dossier, DossierState, Oppositions
from dmp_connector.model.people import Actor, Patient
from dmp_connector.texts import message

_OTP = {Channel.EMAIL: OtpChannel.EMAIL, Channel.SMS: OtpChannel.SMS}
_ACCOUNT_EXISTS = "DMPPatientAccessAlreadyExists"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Step 5 for the patient: the letter as PDF/A-1, and the text and address when it goes by e-mail."""

    channel: Channel
    letter: bytes = field(repr=False)
    address: str = ""
    subject: str = ""
    text: str = field(default="", repr=False)


class CreationWorkflow:
    """The steps of a creation, for one desk; each returns the next state, stored and audited."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def start(self, actor: Actor) -> Creation:
        """A new creation of this professional, stored before its first step."""
        creation = Creation(str(uuid.uuid4()), actor.practitioner.id, self._desk.now())
        return await self._kept(actor, creation, "started")

    async def load(self, actor: Actor, identity: str) -> Creation:
        """Raises BadInput: unknown, another professional's, or given up."""
        found = await asyncio.to_thread(self._desk.store.creation, identity)
        if found is None or found.practitioner != actor.practitioner.id or found.step is Step.ABANDONED:
            raise BadInput(message("dossier.no-such-creation"))
        return found

    async def identify(self, actor: Actor, creation: Creation, vitale: Patient, register: Patient, *, card_for_tests: bool) -> Creation:
        """1 Vitale and INSi."""
        production = self._desk.rules.production
        return await self._kept(
            actor, creation.identify(vitale, register, card_for_tests=card_for_tests, production=production), "identified"
        )

    async def require_none(self, actor: Actor, creation: Creation) -> None:
        """Asked before the patient is: TD0.2 knows no DMP of theirs. Raises DossierExists, DossierClosed, which end the creation."""
        if creation.patient is None:
            raise WrongStep(log=f"at {creation.step}, expected identified")
        call = Call(actor, creation.patient.ins)
        found = await self._desk.existence(call)
        if found.state is DossierState.NO_DMP:
            return
        error = (DossierExists if found.state is DossierState.ACTIVE else DossierClosed)(found.state.value, "TD0.2")
        await self._over(call, creation, error)
        raise error

    async def present(self, actor: Actor, creation: Creation, information: str) -> Creation:
        """2."""
        return await self._kept(actor, creation.present(information), "informed", information=information)

    async def consent(self, actor: Actor, creation: Creation, *, means: ConsentMeans, oppositions: Oppositions) -> Creation:
        """3 The agreement is stored before anything is sent."""
        if creation.patient is None:
            raise WrongStep(log=f"at {creation.step}, expected informed")
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
        """TD1.1, then TD1.5a. CREATED or MANAGED_BY_MES; raises DossierExists and the server's other errors.

        Raises CreationUnanswered: perhaps done. Called again with the creation of the store, the DMP is asked first (TD0.2):
        a dossier that is there now was made by the call that was never answered.
        """
        if creation.step is not Step.READY or creation.patient is None or creation.consent is None:
            raise WrongStep(log=f"at {creation.step}, expected ready")
        call = Call(actor, creation.patient.ins)
        if creation.asked is not None and (await self._found(call, creation)).state is DossierState.ACTIVE:
            return await self.open_account(actor, await self._made(actor, creation, settled="TD0.2"))
        return await self._created(actor, call, creation, _administrative(creation, creation.patient, address))

    async def _created(self, actor: Actor, call: Call, before: Creation, data: AdministrativeData) -> Creation:
        """TD1.1. A note that it is on its way is stored before it is sent, and removed when the DMP has answered."""
        if before.consent is None:
            raise WrongStep(log="no agreement")
        asking = before.asking(self._desk.now())
        await self._keep(asking)
        try:
            await self._desk.dmp.td11_create(call, data, consent_at=before.consent.at, vitale=before.vitale)
        except (LegacyDisabled, ManagedByMes) as error:
            after = asking.asking(None).managed_by_mes()
            return await self._kept(actor, after, "managed by Mon espace santé", why=type(error).__name__)
        except Unavailable as error:
            if not error.sent:
                await self._keep(before)
            await self._desk.refused(call, "creation", error, creation=before.id)
            raise CreationUnanswered(before.id, error) from error
        except DossierExists as error:
            if before.asked is None:  # somebody created it since TD0.2
                await self._over(call, asking, error)
                raise
            return await self.open_account(actor, await self._made(actor, asking, settled="DMPFound"))  # TD0.2 came too early
        except (Refused, NotAllowed, BadInput) as error:
            await self._no(call, asking, error)
            raise
        except DmpError as error:  # nobody knows what the DMP did
            await self._desk.refused(call, "creation", error, creation=before.id)
            raise
        return await self.open_account(actor, await self._made(actor, asking))

    async def _made(self, actor: Actor, creation: Creation, **facts: str) -> Creation:
        return await self._kept(actor, creation.done(self._desk.now()), "created", **facts)

    async def _no(self, call: Call, creation: Creation, error: DmpError) -> None:
        await self._keep(creation.asking(None))
        await self._desk.refused(call, "creation", error, creation=creation.id)

    async def _over(self, call: Call, creation: Creation, error: DmpError) -> None:
        """There is a DMP already: the creation is given up, and the agreement to it, which allows nothing in that DMP, is withdrawn."""
        if creation.consent is not None and call.ins is not None:
            await asyncio.to_thread(
                self._desk.store.withdraw_consents, call.ins, practitioner=call.actor.practitioner.id, at=self._desk.now()
            )
        await self._keep(creation.abandon())
        await self._desk.refused(call, "creation", error, creation=creation.id)

    async def _found(self, call: Call, creation: Creation) -> Dossier:
        try:
            return await self._desk.existence(call)
        except Unavailable as error:
            raise CreationUnanswered(creation.id, error) from error

    async def open_account(self, actor: Actor, creation: Creation) -> Creation:
        """TD1.5a, when the patient chose an account and the DMP has not decided on it. Its refusal does not undo the DMP:
        it is noted in `access`. Raises CreationUnanswered; when repeated, the DMP is first asked whether the account is there.
        """
        account = creation.owed_access
        if account is None or account.channel is None or creation.patient is None:
            return creation
        call, unanswered = Call(actor, creation.patient.ins), creation.access is WebAccess.ASKED
        if unanswered and (await self._found(call, creation)).internet_account:
            return await self._accessed(call, creation, WebAccess.MADE, settled="TD0.2")
        asking = creation.accessed(WebAccess.ASKED)
        await self._keep(asking)
        try:
            await self._desk.dmp.td15a_create_access(call, _OTP[account.channel], account.address)
        except Refused as error:
            if unanswered and error.code == _ACCOUNT_EXISTS:
                return await self._accessed(call, asking, WebAccess.MADE, settled=error.code)
            await self._keep(after := asking.accessed(WebAccess.REFUSED))
            await self._desk.refused(call, "TD1.5a", error, creation=creation.id)
            return after
        except DmpError as error:
            if isinstance(error, Unavailable) and not error.sent:
                await self._keep(creation)
            await self._desk.refused(call, "TD1.5a", error, creation=creation.id)
            if isinstance(error, Unavailable):
                raise CreationUnanswered(creation.id, error) from error
            raise
        return await self._accessed(call, asking, WebAccess.MADE)

    async def _accessed(self, call: Call, creation: Creation, access: WebAccess, **facts: str) -> Creation:
        await self._keep(after := creation.accessed(access))
        await self._desk.note(call, "TD1.5a", access.value, creation=creation.id, **facts)
        return after

    async def confirm(
        self,
        actor: Actor,
        creation: Creation,
        channel: Channel,
        address: tuple[str, ...],
        *,
        keep: Callable[[bytes], None],
        email: str = "",
    ) -> tuple[Creation, Confirmation]:
        """5 The receipt: the letter with the two boxes, and for e-mail the text that carries it. Nothing is sent from here.

        `keep` puts the letter where the caller sends it from; only when it returned the creation is confirmed.
        `email`: where it goes when that is not the address of the account. Raises what `keep` raises; BadInput without address.
        """
        after = creation.confirm(channel)
        recipient = email or mail_address(creation)
        if channel is Channel.EMAIL and not recipient:
            raise BadInput(message("dossier.confirmation-e-mail-needs-address"))
        if creation.patient is None or creation.consent is None:
            raise WrongStep(log=f"at {creation.step}, expected created")
        from dmp_connector.paper.letters import Letterhead, creation_letter  # fpdf2 is slow to import

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
        await asyncio.to_thread(keep, letter)
        kept = await self._kept(actor, after, "confirmed", channel=channel.value)
        if channel is Channel.LETTER:
            return kept, Confirmation(channel, letter)
        text = (
            "Bonjour,\n\nVotre dossier médical partagé (DMP) a été créé. Vous trouverez sa confirmation en pièce jointe, "
            "avec vos choix sur l'accès en urgence et vos droits.\n"
        )
        return kept, Confirmation(channel, letter, recipient, "Création de votre dossier médical partagé", text)

    async def _keep(self, creation: Creation) -> None:
        await asyncio.to_thread(self._desk.store.save_creation, creation, self._desk.now())

    async def _kept(self, actor: Actor, creation: Creation, outcome: str, **facts: str) -> Creation:
        await self._keep(creation)
        call = Call(actor, creation.patient.ins if creation.patient else None)
        await self._desk.note(call, "creation", outcome, creation=creation.id, **facts)
        return creation


def mail_address(creation: Creation) -> str:
    """The patient's e-mail address, when the account was chosen with one; "" else."""
    account = creation.account
    return account.address if account and account.channel is Channel.EMAIL else ""


def _administrative(creation: Creation, patient: Patient, address: tuple[str, ...]) -> AdministrativeData:
    account = creation.account
    mobile = account.address if account and account.channel is Channel.SMS else ""
    return AdministrativeData(patient, email=mail_address(creation), mobile=mobile, oppositions=creation.oppositions, **_postal(address))


def _postal(lines: tuple[str, ...]) -> dict[str, Any]:
    """Address lines, the last one "75001 PARIS"."""
    if not lines:
        return {}
    code, _, city = lines[-1].partition(" ")
    return {"street": lines[:-1], "postal_code": code, "city": city.strip()}


def _said(opposed: bool | None) -> str:
    return "opposed" if opposed else "not opposed"
