"""Checks whether a document may be sent: XSD, our header rules, the schematrons of the ANS.

validator   the three checks as one object
header      our rules on the CDA header, always on
kit         what of the ANS kit is installed, and what a document needs of it
schematron  ISO Schematron -> XSLT, for saxonche (extra `validate`)
worker      the warm process that runs them
"""

from dmp_connector.validate.findings import Finding
from dmp_connector.validate.header import check_header
from dmp_connector.validate.kit import GENERIC, Kit
from dmp_connector.validate.validator import Validator

__all__ = ["GENERIC", "Finding", "Kit", "Validator", "check_header"]
