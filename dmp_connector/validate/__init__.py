"""Is this document fit to be sent: XSD, our header rules, the schematrons of the ANS.

validator   the three gates as one object
header      our rules on the CDA header, always on
schematron  ISO Schematron -> XSLT, for saxonche (extra `validate`)
worker      the warm process that runs them
"""

from dmp_connector.validate.findings import Finding
from dmp_connector.validate.header import check_header
from dmp_connector.validate.validator import GENERIC, Validator

__all__ = ["GENERIC", "Finding", "Validator", "check_header"]
