"""A DMP for demo, tests and partners: every service of docs/reference/dmp.md 1.1 over mutual TLS. It refuses what the real one refuses.

config     its settings: addresses, keys, anchors, persons (TOML)
people     the test patients, in the shape of the national platform
world      dossiers, authorisations, oppositions, the access journal: state in memory
memory     the state across restarts
registry   documents: versions, replacement, entryUUID renewal
rights     the matrix of docs/reference/dmp.md 7.4 as a table
gate       proves who is calling: TLS certificate, VIHF signature, age, single use
gdp        HL7 V3 answers        rights_service   TD0.3, TD0.4, TD1.5, TD1.6
documents  ITI-41, 18, 43, 57    insi             the identity teleservice
server     ASGI application and `serve`

Codes that no public source knows start with SIM, so that nobody takes them for the real server's.
"""

from dmp_connector.simulator.config import Person, SimulatorConfig, load
from dmp_connector.simulator.server import Simulator, serve

__all__ = ["Person", "Simulator", "SimulatorConfig", "load", "serve"]
