"""CDA R2 documents, French profile: read, describe, build, check, show (docs/reference/dmp.md 4).

read        a document of any maker -> Cda: header by typed accessors, body level
metadata    Cda -> XDS DocumentEntry (docs/reference/dmp.md 3.2)
level1      a PDF/A-1 with its header -> CDA N1
rules       the header rules of the CI-SIS, each with its sentence
narrative   sections -> HTML that can do no harm
"""

from dmp_connector.cda.level1 import Level1, build_level1
from dmp_connector.cda.metadata import describe
from dmp_connector.cda.narrative import to_html
from dmp_connector.cda.read import Cda, read

__all__ = ["Cda", "Level1", "build_level1", "describe", "read", "to_html"]
