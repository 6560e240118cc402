"""What happens to the bridge's own process."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.programs.soak.plan import Family, Kind, between

if TYPE_CHECKING:
    from tests.programs.soak.stage import Stage


def process_kinds() -> tuple[Kind, ...]:
    """Return all kinds."""
    return (
        Kind("restarted", Family.PROCESS, restarted, {}),
        Kind("interrupted", Family.PROCESS, interrupted, {}),
        Kind("told_twice_to_end", Family.PROCESS, told_twice_to_end, {}),
        Kind("killed", Family.PROCESS, killed, {"seconds": between(0, 3)}),
        Kind("stands_still", Family.PROCESS, stands_still, {"seconds": between(0.5, 8)}),
    )


async def restarted(stage: Stage) -> None:
    """End it as an orchestrator does, and start another."""
    await stage.restart(signal.SIGTERM)


async def interrupted(stage: Stage) -> None:
    """End it by Ctrl-C, and start another."""
    await stage.restart(signal.SIGINT)


async def told_twice_to_end(stage: Stage) -> None:
    """Lose patience with its draining."""
    life = stage.life
    life.signal(signal.SIGTERM)
    await life.process.logged("signal received, shutting down")
    await stage.restart(signal.SIGTERM)


async def killed(stage: Stage, seconds: float) -> None:
    """Kill it, and start another some time later."""
    await stage.end_life(signal.SIGKILL)
    await asyncio.sleep(seconds)
    await stage.begin_life()


async def stands_still(stage: Stage, seconds: float) -> None:
    """Stop it where it stands, and let it go on."""
    life = stage.life
    life.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    life.signal(signal.SIGCONT)
