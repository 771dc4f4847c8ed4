"""The command `mssgw`. `serve` and the verbs of the DMP's agent go their own ways: they import only the standard library."""

from __future__ import annotations

import sys


def main() -> int:
    if sys.argv[1:2] == ["serve"] and "--help" not in sys.argv:
        from mssgw.node.parent import main as serve

        return serve(sys.argv[2:])
    if sys.argv[1:2] == ["dmp"] and (status := _by_agent(sys.argv[2:])) is not None:
        return status
    from mssgw.cli import main as verbs

    return verbs()


def _by_agent(arguments: list[str]) -> int | None:
    """The status of a verb that the DMP's agent ran; None when there is none, or it is not for it."""
    from mssgw.agent.client import run

    try:
        return run(arguments)
    except OSError as error:
        refused = error
    from mssgw.cli.frame import foreseen  # brings the world in

    def failed() -> None:
        raise refused

    return foreseen(failed)


if __name__ == "__main__":
    sys.exit(main())
