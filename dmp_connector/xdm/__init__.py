"""IHE_XDM.ZIP: documents with their XDS metadata in an archive (IHE ITI-32, docs/reference/mssante.md 5).

members     the archive as a bounded dictionary of octets; refuses bombs, traversal, links, duplicates
read        members -> submission sets with their documents, whatever shape the sender gave the tree
write       a submission set and its documents -> the archive, the same octets for the same content
wrap        one PDF -> level 1 CDA -> archive and subject of the mail
"""

from dmp_connector.xdm.members import XdmLimits
from dmp_connector.xdm.read import XdmArchive, XdmDocument, XdmSet, read
from dmp_connector.xdm.wrap import Wrapped, wrap
from dmp_connector.xdm.write import Sender, subject, submission_id, write

__all__ = ["Sender", "Wrapped", "XdmArchive", "XdmDocument", "XdmLimits", "XdmSet", "read", "subject", "submission_id", "wrap", "write"]
