"""`python -m dmp_connector.simulator --config FILE`: one simulated DMP until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from dmp_connector.errors import BadSettings
from dmp_connector.simulator.config import load
from dmp_connector.simulator.server import Simulator, serve


def main() -> int:
    """Serve until a signal comes; 1 when the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m dmp_connector.simulator", description="A simulated DMP over mutual TLS.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file, see config/dmp/simulator.md")
    options = parser.parse_args()
    try:
        simulator = Simulator(load(options.config))
    except (BadSettings, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    asyncio.run(serve(simulator))
    return 0


if __name__ == "__main__":
    sys.exit(main())
