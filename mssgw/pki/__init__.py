"""Certificates, as trust and S/MIME both need them: read once, one table of accepted keys. No I/O, no trust, no mail.

der            writes DER, reads it in place
names          distinguished names: read, compared
policy         which keys are accepted, for what, and why
certificates   Certificate: the facts of an X.509 certificate
judgement      Purpose, Evidence, Validate: the interface by which trust judges certificates
"""
