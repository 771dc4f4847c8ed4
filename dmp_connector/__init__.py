"""The French national patient record (DMP) from Python: dossiers, consent, documents, cards.

Knows nothing of mail and imports nothing of `mssgw`, with which it ships. `pyproject.toml` beside this file makes a wheel of the
library alone; `docs/examples/dmp_alone.py` uses it so, `docs/dmp-api.md` lists what there is.

    model       values: Patient, Practitioner, Dossier, Consent, DocumentEntry, SubmissionSet ...
    errors      one tree
    client      Dmp: one method per transaction of the guide (TD0.2 ... TD3.3d)
    blocking    the same for a program without an event loop
    simulator   a DMP for demo, tests and partners
"""
