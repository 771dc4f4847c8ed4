"""The dossier service: decisions, consultations, deposits, creation. Sits on the client and the store.

access        the five conditions of an access as one function
rights        the national matrix of rights as data
desk          what every act shares: client, store, clock, rules, audit
service       authorise, list, search, change documents, close and reopen
consultation  open, read, close; emergency access
deposits      feed the DMP once and only once
creation      the five steps as a value; workflow runs them
"""
