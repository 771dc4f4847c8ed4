"""The command `mssgw`. `serve` goes its own way: its parent process imports only the standard library."""

from __future__ import annotations

import sys


def main() -> int:
    if sys.argv[1:2] == ["serve"] and "--help" not in sys.argv:
        from mssgw.node.parent import main as serve

        return serve(sys.argv[2:])
    from mssgw.cli import main as verbs

    return verbs()


if __name__ == "__main__":
    sys.exit(main())
