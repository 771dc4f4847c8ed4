"""Fixtures of the outgoing side: certificates, a scripted server."""

import pytest

from tests.smtp_peer import FakeServer, Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def server(pki):
    """Make a FakeServer: `async with server(answers=...) as peer`."""

    def make(**options):
        return FakeServer(pki.server_context(require=options.pop("require", True)), **options)

    return make
