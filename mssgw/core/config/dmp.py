"""[dmp] and [[dmp_actor]]: the national record, and who may act in it from here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mssgw.core.config.base import Mistakes, Secret, Settings, check_store, sqlite_file
from mssgw.core.config.dmp_wire import DmpProtocol, DmpVihf
from mssgw.core.errors import Mistake
from mssgw.core.texts import Message, message


class Dmp(Settings, frozen=True):
    url: Annotated[str, Meta(description="Address of the DMP services, .../si-dmp-server/v2/services.", pattern="^https://")]
    anchors: Annotated[Path, Meta(description="Authorities the DMP's certificate must come from, one PEM file.")]
    store: Annotated[str, Meta(description="The connector's own store: sqlite:PATH below `[node] data`, or postgresql://...")] = (
        "sqlite:dmp.db"
    )
    certificate: Annotated[
        Path | None, Meta(description="TLS client certificate of the structure (ORG_AUTH_CLI), PEM; none when every actor uses a card.")
    ] = None
    key: Annotated[Secret | None, Meta(description="Its private key.")] = None
    insi_url: Annotated[str, Meta(description="Address of the INSi teleservice; empty for none.")] = ""
    insi_authorisation: Annotated[str, Meta(description="Authorisation number of the product at INSi (IDAM).")] = ""
    homologation: Annotated[Secret | None, Meta(description="The homologation number (EX_GEN-1490: a secret).")] = None
    system_oid: Annotated[
        str, Meta(description="OID of this system: root of the ids of documents made here.", pattern=r"^[0-2](\.\d+)+$")
    ] = "1.2.250.1.213.1.1.9.1"
    production: Annotated[
        bool, Meta(description="Against the real DMP: test and demo cards and test INS are refused, traces need their switch.")
    ] = False
    legacy_dossier_management: Annotated[
        bool,
        Meta(
            description="Allow TD1.1, TD1.2, TD1.4 and TD1.5 (creating, reopening, closing). Since July 2021 they belong to Mon espace santé."
        ),
    ] = False
    trace_in_production: Annotated[
        bool, Meta(description="Allow --trace in production: it writes patient data to files, and is audited.")
    ] = False
    regulation_structures: Annotated[
        tuple[str, ...], Meta(description="Struct_IdNat of the medical regulation centres (SAMU, centre 15) that act from here.")
    ] = ()
    consultation_minutes: Annotated[int, Meta(description="How long a consultation lasts at most.", ge=1, le=720)] = 30
    emergency_minutes: Annotated[int, Meta(description="The same for bris de glace and centre 15.", ge=1, le=120)] = 15
    consent_days: Annotated[int, Meta(description="How long a collected consent is good for.", ge=1, le=3650)] = 365
    max_pdf_octets: Annotated[int, Meta(description="Largest PDF taken for a deposit.", ge=65_536)] = 10_485_760
    same_deposit_days: Annotated[
        int,
        Meta(
            description="How long the same PDF, filed again for the same patient under the same title, type and author, is recognised as the same document.",
            ge=1,
            le=3650,
        ),
    ] = 30
    web_url: Annotated[
        str,
        Meta(
            description="Address of the contextual web access of the DMP, before /AccesDirect; empty when unknown.",
            pattern="^(https://.+)?$",
        ),
    ] = ""
    validation_kit: Annotated[Path | None, Meta(description="Folder of the ANS conformance kit (XSD and schematrons), when installed.")] = (
        None
    )
    value_sets: Annotated[
        Path | None,
        Meta(description="Folder of value sets (JDV, ASS) of your own: a file there replaces the one shipped under the same name."),
    ] = None
    validation_models: Annotated[
        tuple[str, ...],
        Meta(
            description="Schematrons of document models run beside the generic ones: auto (those of the document's model), none, or only the named, as in the kit: VSM_2023.01."
        ),
    ] = ("auto",)
    letter_address: Annotated[tuple[str, ...], Meta(description="Address lines of the structure on letters to patients.")] = ()
    card_module: Annotated[
        Path | None, Meta(description="PKCS#11 module of the professional's card; the known places are tried when not set.")
    ] = None
    card_reader: Annotated[
        str, Meta(description="Part of the name of the reader that holds the professional's card, when there are several.")
    ] = ""
    vitale_reader: Annotated[str, Meta(description="The same for the Vitale.")] = ""
    vitale_command: Annotated[
        tuple[str, ...],
        Meta(
            description="Program (and arguments) of the licensed Vitale API that prints the card as JSON; empty for the simulated card over PC/SC."
        ),
    ] = ()
    protocol: Annotated[
        DmpProtocol, Meta(description="What the guide of the DMP decides: addresses, codes, forms. `mssgw dmp doctor` shows it.")
    ] = DmpProtocol()
    vihf: Annotated[DmpVihf, Meta(description="The same of the assertion of who asks (VIHF).")] = DmpVihf()

    def __post_init__(self) -> None:
        try:
            check_store(self.store)
        except Mistake as error:
            raise Mistakes([("store", error.message)]) from error

    def misplaced(self, data: Path, base: Path) -> Message | None:
        """Why a new store may not be made: one lies at `base`, where its relative path once started. None when none does."""
        file, before = sqlite_file(self.store, data), sqlite_file(self.store, base)
        if file is None or before is None or file == before or file.exists() or not before.exists():
            return None
        return message("config.dmp-moved", before=before, file=file, folder=file.parent)


class DmpActor(Settings, frozen=True):
    address: Annotated[str, Meta(description="The mail address whose owner acts: `mssgw dmp ... --as ADDRESS`.")]
    id: Annotated[str, Meta(description="PS_IdNat: 8 and the RPPS number, 0 and the ADELI number ...")]
    family: Annotated[str, Meta(description="Family name.")]
    given: Annotated[str, Meta(description="Given name.")]
    structure_id: Annotated[str, Meta(description="Struct_IdNat: 1 and the FINESS number, 3 and the SIRET ...")]
    structure_name: Annotated[str, Meta(description="Name of the structure.")]
    sector: Annotated[str, Meta(description="Sector of activity, JDV_J61.")] = "SA07"
    profession: Annotated[str, Meta(description="Profession, G15: 10 doctor, 21 pharmacist, 40 dentist, 60 nurse ...")] = "10"
    speciality: Annotated[str, Meta(description="Speciality R01 for doctors, G05 for pharmacists, as SM26; empty for none.")] = ""
    practice: Annotated[str, Meta(description="Practice setting of the documents, JDV_J04.")] = "AMBULATOIRE"
    authentication: Annotated[
        Literal["card", "psc", "structure"],
        Meta(description="How the person is authenticated: card (direct), psc (Pro Santé Connect, AIR), structure (indirect)."),
    ] = "structure"
    certificate: Annotated[
        Path | None, Meta(description="Certificate that signs the VIHF (ORG_SIGN, or a card's when its key is a file in tests), PEM.")
    ] = None
    key: Annotated[Secret | None, Meta(description="Its private key; none: the card in the reader signs, and its PIN is asked for.")] = None
    billing_id: Annotated[
        str,
        Meta(
            description="Number under which the holder of the card bills the health insurance: INSi is then asked with a statement that the card signs; empty: by the structure's certificate."
        ),
    ] = ""
    amo_speciality: Annotated[
        str, Meta(description="Code of the holder's speciality at the health insurance (AMO), for the same statement.")
    ] = ""
    staff_card: Annotated[bool, Meta(description="The card is a CPE: it feeds but does not consult.")] = False
