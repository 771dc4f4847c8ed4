"""HL7 V3 of the dossier transactions: NE2009 (GDP) and NE2008 (PDQ). Pure.

names     codes and OIDs of the French profile (docs/reference/dmp.md 1.3, 1.5)
common    elements both sides write: names, addresses, transmission wrapper
write     requests of TD0.2, TD0.5, TD1.1 to TD1.4
read      their answers
"""
