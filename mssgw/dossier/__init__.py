"""The application service of the DMP: one door for the command line, the console, the API and IMAP.

    service = DmpService(config, file)
    async with service.session("jeanne.martin@alpha.test", pin=ask) as dmp:
        found = await dmp.dossiers.exists(Access("279035121518989"))

values      what a caller gives (`Access`, `Search`, `Filing`, `CreationOrder`) and gets back, frozen
setup       the node's configuration as the connector's values; the connector's store
opening     the actor's key: a file, or the card in the reader with its PIN and its TLS relay
session     one actor at work: whose dossier is meant, the row that every attempt leaves, what a cancelled one closes
dossiers, documents, filing, creations, trail    the use cases, one method each
checks      what a document is checked with before it is filed
service     the door itself, and what needs no session: doctor, card, store
kept        a session that stays open from one act to the next

Every method raises DmpError with a sentence in both languages. A gesture (the explicit yes of a person) is an argument:
nothing here asks, prints or reads a terminal. Files and cards are read in threads, never on the event loop.
"""

from dmp_connector.dossier.recognition import Gesture
from mssgw.dossier.checks import Checks
from mssgw.dossier.kept import Kept, Lasting
from mssgw.dossier.service import DmpService, DmpSession
from mssgw.dossier.session import Interrupted
from mssgw.dossier.setup import NotSetUp
from mssgw.dossier.values import Access, Audience, CreationOrder, Filing, Form, Search

__all__ = [
    "Access",
    "Audience",
    "Checks",
    "CreationOrder",
    "DmpService",
    "DmpSession",
    "Filing",
    "Form",
    "Gesture",
    "Interrupted",
    "Kept",
    "Lasting",
    "NotSetUp",
    "Search",
]
