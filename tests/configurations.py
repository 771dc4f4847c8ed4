"""The smallest configuration of a node, which tests and benchmarks add their own to."""


def alpha(more: str = "", *, node: str = "", trust: str = "") -> str:
    """TOML of the operator alpha, paths relative. `node`, `trust`: lines of those tables; `more`: tables."""
    return f"""
[node]
hostname = "mx.alpha.mssante.test"
data = "data"
{node}
[seal]
master_key = "file:master.key"
[trust]
anchors = "anchors"
{trust}
[[domain]]
name = "alpha.mssante.test"
{more}"""
