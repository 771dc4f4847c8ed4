"""Has this patient a DMP, and what is in it? `dmp_connector` alone: python dmp_alone.py URL FOLDER INS (see docs/dmp.md)."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from dmp_connector.client import Call, Dmp, FindDocuments
from dmp_connector.errors import DmpError
from dmp_connector.model import Actor, AuthenticationMode, AvailabilityStatus, Code, Ins, InsKind, Practitioner, Structure
from dmp_connector.settings import DmpSettings
from dmp_connector.signer import FileSigner

DOCTOR = Practitioner("899700367909", "MARTIN", "JEANNE", Code("10", "1.2.250.1.71.1.2.7"), Code("SM26", "1.2.250.1.71.4.2.5"))
HOSPITAL = Structure("10B0073160", "HOPITAL TEST", Code("SA07", "1.2.250.1.71.4.2.4"))


async def main(url: str, folder: Path, ins: str) -> None:
    settings = DmpSettings(url=url, anchors=folder / "ca.pem", certificate=folder / "tls.pem", key=folder / "tls.key")
    doctor = Actor(DOCTOR, HOSPITAL, AuthenticationMode.DIRECT, datetime.now(UTC))
    async with Dmp(settings, FileSigner.load(folder / "seal.pem", folder / "seal.key")) as dmp:
        call = Call(doctor, Ins.typed(ins, InsKind.NIR_TEST.value))
        print((await dmp.td02_existence(call)).state)
        for entry in await dmp.td31a_find(call, FindDocuments((AvailabilityStatus.APPROVED,))):
            print(f"{entry.created.at:%Y-%m-%d}", entry.title)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
    except DmpError as error:
        sys.exit(error.message.en)
