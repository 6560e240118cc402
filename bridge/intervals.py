"""What a bridge does at intervals beside its client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from bridge import log_events
from bridge.aries.client import ClientState
from bridge.clock import wall_us
from bridge.pipeline.control_events import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from bridge.aries.client import AriesClient
    from bridge.kafka.publisher import Publisher
    from bridge.observability.symbol_ages import SymbolAges
    from bridge.pipeline.control_events import ControlEvents
    from bridge.pipeline.ingest import Ingest

log = structlog.get_logger(__name__)


async def send_heartbeats(control: ControlEvents, ingest: Ingest, publisher: Publisher) -> None:
    """Announce the accounts, and warn of changed partition counts."""
    drift: dict[str, int] = {}
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        ingest.check_dead_letters()
        control.heartbeat(publisher.state.rebuilds)
        found = publisher.partition_drift()
        if found != drift:
            drift = found
            log.warning(log_events.PARTITION_COUNT_CHANGED, topics=drift)


async def release_conflated(ingest: Ingest, interval_seconds: float) -> None:
    """Queue conflated records at the end of each interval; 0: there are none."""
    while interval_seconds:
        await asyncio.sleep(interval_seconds - wall_us() / 1e6 % interval_seconds)
        while ingest.release(wall_us()):  # noqa: ASYNC110 - one turn of the loop between portions
            await asyncio.sleep(0)


async def release_latest(ingest: Ingest, interval_seconds: float) -> None:
    """Queue the latest states that have changed."""
    while ingest.latest is not None:
        await asyncio.sleep(interval_seconds)
        await release_changed(ingest)


async def release_changed(ingest: Ingest) -> None:
    """Queue the latest states that have changed since they were last queued."""
    if ingest.latest is not None:
        for _ in ingest.latest.release():
            await asyncio.sleep(0)


async def check_symbol_ages(ages: SymbolAges, client: AriesClient) -> None:
    """Look for symbols without data."""
    now = asyncio.get_running_loop().time
    while ages.interval_seconds:
        await asyncio.sleep(ages.interval_seconds)
        session = client.session
        if session is None or client.state is not ClientState.STREAMING:
            ages.pause(now())
            continue
        market_open = session.keep_alive.in_regular_hours
        for _ in ages.check(now(), wall_us(), market_open=market_open, rejected=session.rejected_symbols):
            await asyncio.sleep(0)
