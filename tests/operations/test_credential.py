"""A master key that systemd keeps encrypted, with systemd's own program, on an empty machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.operations.machine import lacking, machine

pytestmark = [pytest.mark.peer("systemd-creds"), pytest.mark.skipif(lacking() != "", reason=lacking())]

MSSGW = "/opt/mssgw/bin/mssgw"
ENCRYPT = "systemd-creds encrypt --with-key=host --name=mssgw.master.key /root/key /etc/credstore.encrypted/mssgw.master.key"


def test_verbs_of_root_decrypt_it_and_make_no_other() -> None:
    with tempfile.TemporaryDirectory(prefix="mssgw-machine-") as name, machine(Path(name)) as empty:
        empty.run("useradd --system --user-group mssgw")
        empty.run("mkdir -p /etc/credstore.encrypted /var/lib/systemd && echo 0123456789abcdef0123456789abcdef > /etc/machine-id")
        empty.run(f"{MSSGW} seal new-key /root/key && {ENCRYPT} && rm /root/key")
        said = empty.run(f"{MSSGW} init --hostname mx.chu.example --domain chu.example")
        assert "seal.master_key" not in said
        assert not empty.path("/etc/credstore").exists()
        empty.run(f"{MSSGW} account add jeanne@chu.example --no-password -c /etc/mssgw/mssgw.toml")
        assert "ok" in empty.run(f"{MSSGW} check -c /etc/mssgw/mssgw.toml")
        empty.run("install -m 0644 deploy/systemd/mssgw.service /etc/systemd/system/ && rm -rf /var/lib/mssgw")
        empty.run(f"{MSSGW} account add jeanne@chu.example --no-password -c /etc/mssgw/mssgw.toml")  # before the first start
        assert set(empty.run("find /var/lib/mssgw -printf '%u '").split()) == {"mssgw"}
        empty.run("mv /etc/credstore.encrypted /etc/elsewhere")
        lost = empty.run(f"{MSSGW} account list -c /etc/mssgw/mssgw.toml", status=1)
        assert "looked for in /run/credentials/mssgw.service/mssgw.master.key" in lost
        assert "restore the key from its copy" in lost
