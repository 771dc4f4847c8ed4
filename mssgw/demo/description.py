"""demo.json: what outsiders read, and nothing else. Additions are free, a rename breaks them.

Paths are relative to DIR, ports are integers, hosts are "127.0.0.1".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mssgw.demo.cast import GAMMA, OPERATORS, PEERS, PETIT, Account, Operator
from mssgw.demo.stage import ports

HOST = "127.0.0.1"


def describe(base: int, pids: dict[str, int], passwords: dict[str, str], dmp: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 1,
        "ca": "pki/ca.pem",
        "whitelist": {"url": f"http://{HOST}:{base}/listeblanchemssante.xml", "signer_ca": "pki/igc.pem"},
        "operators": [_operator(operator, base, pids.get(operator.name, 0), passwords) for operator in OPERATORS],
        "peers": {peer.name: _peer(peer.name, peer.domain, peer.expect, base) for peer in PEERS},
        "dmp": dmp,
    }


def _operator(operator: Operator, base: int, pid: int, passwords: dict[str, str]) -> dict[str, Any]:
    port = ports(operator, base)

    def service(name: str, tls: str) -> dict[str, Any]:
        return {"host": HOST, "port": port[name], "tls": tls}

    return {
        "name": operator.name,
        "domains": [operator.domain],
        "config": f"{operator.name}/mssgw.toml",
        "data": f"{operator.name}/data",
        "pid": pid,
        "relay": service("relay", "starttls"),
        "submission": service("submission", "starttls"),
        "submissions": service("submissions", "implicit"),
        "imap": service("imap", "starttls"),
        "imaps": service("imaps", "implicit"),
        "web": {"url": f"https://{HOST}:{port['web']}"},
        "metrics": {"url": f"http://{HOST}:{port['metrics']}/metrics"},
        "hospital": service("hospital", "starttls"),
        "operator_certificate": {"cert": f"pki/{operator.name}.pem", "key": f"pki/{operator.name}.key"},
        "seal_certificate": {"cert": f"pki/{operator.name}-seal.pem", "key": f"pki/{operator.name}-seal.key"},
        "accounts": [_account(account, passwords) for account in operator.accounts],
    }


def _account(account: Account, passwords: dict[str, str]) -> dict[str, Any]:
    described: dict[str, Any] = {"address": account.address, "kind": account.kind}
    if account.role:
        described["role"] = account.role
    if account.members:
        described["members"] = list(account.members)
    if account.address in passwords:
        described["password"] = passwords[account.address]
    if account.person:
        name = account.address.partition("@")[0]
        described |= {"rpps": account.rpps, "cert": f"pki/{name}.pem", "key": f"pki/{name}.key"}
    return described


def _peer(name: str, domain: str, expect: str, base: int) -> dict[str, Any]:
    described: dict[str, Any] = {"domain": domain, "expect": expect}
    if name not in ("no-tls", "no-certificate"):
        described |= {"cert": f"pki/peer-{name}.pem", "key": f"pki/peer-{name}.key"}
    if name == "valid":
        described["mx_port"] = base + 40
        described["recipient"] = {"address": PETIT.address, "cert": "pki/paul.petit.pem", "key": "pki/paul.petit.key"}
        assert domain == GAMMA
    return described


def write(path: Path, document: dict[str, Any]) -> None:
    """Written atomically: a reader never sees a part of it. It holds the demo's passwords: 0600."""
    from mssgw.demo.cast import write_private

    write_private(path, (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode())
