"""The creation of a DMP in five steps, one after the other, resumable between any two (see dmp_connector.dossier.creation)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dmp_connector.card.readers import pair, slots
from dmp_connector.card.vitale import ExternalVitaleReader, PcscVitaleReader, VitaleCard, parse_card
from dmp_connector.dossier.contacts import require_contacts
from dmp_connector.dossier.recognition import Gesture, given
from dmp_connector.dossier.workflow import CreationWorkflow, mail_address
from dmp_connector.errors import BadInput, ConsentMissing, NoCard, NoReader, NotConfirmed
from dmp_connector.model import Patient
from dmp_connector.model.creation import AccountAccess, Channel, Creation, Step
from mssgw.core.texts import message
from mssgw.dossier.session import Session
from mssgw.dossier.values import Account, CreationEvent, CreationOrder, CreationOutcome

INFORMATION = "DMP-information-patient-2021"  # the text that the patient is shown in step 2

Told = Callable[[CreationEvent, Creation], None]


class AccountNotAsked(BadInput):
    """The order of a creation has no answer of the patient about their web account."""

    def __init__(self) -> None:
        super().__init__(message("dmp.account-not-asked"))


class Creations:
    """`create` runs every step that is still to be done; the methods raise the errors of `dmp_connector.dossier.workflow`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._flow = CreationWorkflow(session.desk)

    @property
    def possible(self) -> bool:
        """Whether a DMP may be created from here; otherwise Mon espace santé manages it."""
        return self._session.setup.table.legacy_dossier_management

    async def create(
        self, order: CreationOrder, *, agreed: Gesture, keep: Callable[[bytes], None], told: Told = lambda _event, _creation: None
    ) -> CreationOutcome:
        """From wherever the creation stands to its confirmation. `agreed`: does this patient consent to it?

        `keep` puts the letter (PDF/A-1) where it is sent from, in a thread; only when it returned, the creation is confirmed.
        `told` is called after each step. Raises ConsentMissing, NotConfirmed, TraitsDiffer, OtherPatient, CreationUnanswered, CardError,
        and what `keep` raises: what is done stays, and `order.resume` goes on from there.
        """
        async with self._session.attempt("create"):
            self.require_order(order)
            creation = await self.begun(order, told)
            if order.account is None and creation.account is None:
                raise AccountNotAsked
            if order.channel is Channel.EMAIL and not order.email and not mail_address(creation) and not callable(order.account):
                raise _no_email()
            creation = await self._ready(creation, order, agreed, told)
            creation = await self._sent(creation, order)
            if creation.step is Step.MANAGED_BY_MES:
                return CreationOutcome(creation, None)
            told(CreationEvent.CREATED, creation)
            actor = self._session.actor
            confirmed = await self._flow.confirm(actor, creation, order.channel, order.address, keep=keep, email=order.email)
            return CreationOutcome(*confirmed)

    def require_order(self, order: CreationOrder) -> None:
        """Raise BadInput for what cannot be carried to its end, before the first step."""
        if order.account is None and not order.resume:
            raise AccountNotAsked
        if isinstance(order.account, AccountAccess):
            require_reachable(order.account)
        require_contacts(email=order.email)
        if order.channel is Channel.EMAIL and not order.email and not order.resume:
            raise _no_email()
        if order.channel is Channel.SMS:
            raise BadInput(message("dmp.confirm-letter-email-no-confirmation"))

    async def begun(self, order: CreationOrder, told: Told) -> Creation:
        """A new creation, or the one to go on with. A card that is there must be its patient's: raises OtherPatient."""
        if not order.resume:
            creation = await self._flow.start(self._session.actor)
            told(CreationEvent.STARTED, creation)
            return creation
        creation = await self._flow.load(self._session.actor, order.resume)
        told(CreationEvent.RESUMED, creation)
        if creation.patient is not None:
            await self._require_card(creation, order)
        return creation

    async def _ready(self, creation: Creation, order: CreationOrder, agreed: Gesture, told: Told) -> Creation:
        """Steps 1 to 4, those that are still to be done. Raises DossierExists, DossierClosed before the patient is asked anything."""
        flow, actor = self._flow, self._session.actor
        if creation.step is Step.STARTED:
            creation = await self.identify(creation, order)
            told(CreationEvent.IDENTIFIED, creation)
        if creation.step in {Step.IDENTIFIED, Step.INFORMED}:
            await flow.require_none(actor, creation)
        if creation.step is Step.IDENTIFIED:
            told(CreationEvent.PRESENTING, creation)
            creation = await flow.present(actor, creation, INFORMATION)
            told(CreationEvent.INFORMED, creation)
        if creation.step is Step.INFORMED:
            creation = await self._consented(creation, order, agreed)
            told(CreationEvent.CONSENTED, creation)
        if creation.step is Step.CONSENTED:
            creation = await flow.account(actor, creation, _answer(order.account, creation.patient))
            told(CreationEvent.READY, creation)
        return creation

    async def identify(self, creation: Creation, order: CreationOrder) -> Creation:
        """Step 1: the Vitale, and the person whom INSi knows by it."""
        card = await asyncio.to_thread(self.read_vitale, order.vitale)
        person = card.beneficiary(order.rank)
        async with self._session.insi() as insi:
            found = (await insi.by_vitale(card.identity(order.rank))).require_found()
        register = replace(found, ins=self._session.desk.dmp.settings.in_dmp(found.ins))
        on_card = person.as_patient(card.oid) if person.nir else register
        tests = card.kind.value != "real"
        return await self._flow.identify(self._session.actor, creation, on_card, register, card_for_tests=tests)

    async def _consented(self, creation: Creation, order: CreationOrder, agreed: Gesture) -> Creation:
        """Step 3."""
        if order.means is None or creation.patient is None:
            raise ConsentMissing(log="how the patient consented was not said (EX_1.1-1010)")
        if not given(agreed, creation.patient):
            raise NotConfirmed(log="creation not confirmed")
        return await self._flow.consent(self._session.actor, creation, means=order.means, oppositions=order.oppositions)

    async def _sent(self, creation: Creation, order: CreationOrder) -> Creation:
        """TD1.1, and the web account if it is still to be made."""
        if creation.step is Step.READY:
            return await self._flow.create(self._session.actor, creation, address=order.address)
        if creation.owed_access:
            return await self._flow.open_account(self._session.actor, creation)
        return creation

    async def _require_card(self, creation: Creation, order: CreationOrder) -> None:
        card = await asyncio.to_thread(self._card_for, creation, order.vitale)
        if card is None:
            return
        person = card.beneficiary(order.rank)
        known = creation.vitale or creation.patient
        number = person.as_patient(card.oid).ins if person.nir or known is None else known.ins
        creation.require_card(Patient(number, person.birth_name, person.given, person.birth_date, person.sex, used_name=person.used_name))

    def _card_for(self, creation: Creation, file: Path | None) -> VitaleCard | None:
        """The card given; else the one in the configured reader, while the DMP is not created: none is needed any more to go on."""
        if file is not None:
            return self.read_vitale(file)
        table = self._session.setup.table
        if creation.step in {Step.CREATED, Step.CONFIRMED} or not (table.vitale_command or table.vitale_reader):
            return None
        with suppress(NoReader, NoCard):
            return self.read_vitale(None)
        return None

    def read_vitale(self, file: Path | None) -> VitaleCard:
        """The card in the reader, or a card file of the simulation. Blocks. Raises CardError, OSError."""
        if file is not None:
            return parse_card(file.read_bytes())
        table = self._session.setup.table
        if table.vitale_command:
            return ExternalVitaleReader(table.vitale_command).read()
        found = pair(slots(), professional=table.card_reader, vitale=table.vitale_reader)
        slot = found.vitale or found.professional
        if slot is None:
            raise NoReader(message("dmp.no-reader-connected"))
        return PcscVitaleReader(slot).read()


def require_reachable(account: AccountAccess) -> None:
    """Raise BadInput: the account's code would reach nobody."""
    if account.channel is not None:
        require_contacts(
            email=account.address if account.channel is Channel.EMAIL else "",
            mobile=account.address if account.channel is Channel.SMS else "",
        )


def _answer(account: Account, patient: Patient | None) -> AccountAccess:
    """The patient's answer, asked for now when there is somebody to ask."""
    if account is None or patient is None:
        raise AccountNotAsked
    answer = account(patient) if callable(account) else account
    require_reachable(answer)
    return answer


def _no_email() -> BadInput:
    return BadInput(message("dmp.confirm-email-needs-email"))
