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
        Kind("signalled_twice", Family.PROCESS, signalled_twice, {}),
        Kind("killed", Family.PROCESS, killed, {"seconds": between(0, 3)}),
        Kind("suspended", Family.PROCESS, suspended, {"seconds": between(0.5, 8)}),
    )


async def restarted(testbed: Testbed) -> None:
    """Stop it as an orchestrator does (SIGTERM), and start another."""
    await testbed.restart(signal.SIGTERM)


async def interrupted(testbed: Testbed) -> None:
    """Stop it by Ctrl-C (SIGINT), and start another."""
    await testbed.restart(signal.SIGINT)


async def signalled_twice(testbed: Testbed) -> None:
    """Send a second signal while it drains."""
    bridge = testbed.bridge
    bridge.signal(signal.SIGTERM)
    await bridge.process.logged("signal received, shutting down")
    await testbed.restart(signal.SIGTERM)


async def killed(testbed: Testbed, seconds: float) -> None:
    """Kill it, and start another after a delay."""
    await testbed.stop_bridge(signal.SIGKILL)
    await asyncio.sleep(seconds)
    await testbed.start_bridge()


async def suspended(testbed: Testbed, seconds: float) -> None:
    """Suspend it (SIGSTOP), and resume it."""
    bridge = testbed.bridge
    bridge.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    bridge.signal(signal.SIGCONT)
