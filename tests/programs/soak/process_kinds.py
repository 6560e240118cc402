"""Faults of the bridge's own process."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.programs.soak.plan import Family, Kind, between

if TYPE_CHECKING:
    from tests.programs.soak.testbed import Testbed


def process_kinds() -> tuple[Kind, ...]:
    """Return all kinds."""
    return (
        Kind("restarted", Family.PROCESS, restarted, {}),
        Kind("interrupted", Family.PROCESS, interrupted, {}),
        Kind("told_twice_to_end", Family.PROCESS, told_twice_to_end, {}),
        Kind("killed", Family.PROCESS, killed, {"seconds": between(0, 3)}),
        Kind("suspended", Family.PROCESS, suspended, {"seconds": between(0.5, 8)}),
    )


async def restarted(testbed: Testbed) -> None:
    """End it as an orchestrator does, and start another."""
    await testbed.restart(signal.SIGTERM)


async def interrupted(testbed: Testbed) -> None:
    """End it by Ctrl-C, and start another."""
    await testbed.restart(signal.SIGINT)


async def told_twice_to_end(testbed: Testbed) -> None:
    """Send a second signal while it drains."""
    bridge = testbed.bridge
    bridge.signal(signal.SIGTERM)
    await bridge.process.logged("signal received, shutting down")
    await testbed.restart(signal.SIGTERM)


async def killed(testbed: Testbed, seconds: float) -> None:
    """Kill it, and start another some time later."""
    await testbed.stop_bridge(signal.SIGKILL)
    await asyncio.sleep(seconds)
    await testbed.start_bridge()


async def suspended(testbed: Testbed, seconds: float) -> None:
    """Suspend it (SIGSTOP), and resume it."""
    bridge = testbed.bridge
    bridge.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    bridge.signal(signal.SIGCONT)
