"""Documents of the DMP in mail, as the national profile has them (docs/reference/mssante.md 3.2, 5).

visibility   who may read a document by mail, and whether a citizen's address is that of the patient
naming       the names of the PDF files, the X-MSS-* fields
composing    documents -> IHE_XDM.ZIP, one PDF/A-1 for each -> a message
recognising  a message -> its archives and PDF files, and where its header says something else

Pure: no network, no store, no clock. What a document is comes from the DMP's metadata and from the CDA itself.
"""
