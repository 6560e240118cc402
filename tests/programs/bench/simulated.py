"""The simulator as a process of its own: ``python -m tests.programs.bench.simulated LINES_PER_SECOND``."""

from __future__ import annotations

import asyncio
import json
import sys

from bridge.simulator.server import Simulator


async def main(rate: float) -> None:
    """Serve until the process is ended."""
    async with Simulator(dialect="envelope", rate=rate) as simulator:
        print(json.dumps({"url": simulator.url}), flush=True)  # noqa: T201 - its answer
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
