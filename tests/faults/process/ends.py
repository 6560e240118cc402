"""How a bridge's process ended: its exit code, its accounts, and the records on Kafka, which must agree."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from bridge.errors import KafkaUnreachable
from tests.faults.proof import verified
from tests.support.service import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.verify.report import Report
    from tests.support.process import Process

Accounts = dict[str, int]
_ENDS = ("published", "conflated", "filtered", "dead_lettered", "dropped", "undelivered")


async def accounted_end(bridge: Process, *, may_complain: bool = False) -> Accounts:
    """Wait for the end; assert that every line read has its account, and that the exit code matches what is missing.

    A stop that hangs fails here: ``ended`` waits for half a minute, and the tests' drains take seconds. Nor may asyncio
    have complained of anything, unless the test says otherwise.
    """
    code = await bridge.ended()
    [stopped] = bridge.all("stopped")
    accounts: Accounts = stopped["accounts"]
    assert accounts["pending"] == 0
    assert accounts["lines_received"] + accounts["split"] == sum(accounts[name] for name in _ENDS)
    assert stopped["undelivered"] == accounts["undelivered"]
    assert code == (4 if accounts["undelivered"] else 0)
    assert "Traceback" not in "".join(bridge.text)
    complaints = [line for line in bridge.logs if line["logger"] == "asyncio" or line["event"] == "unexpected error"]
    assert may_complain or complaints == [], complaints  # as the message: pytest rewrites no assertion of this module
    return accounts


async def proven(bootstrap_servers: str, prefix: str, accounts: Accounts, *, in_flight_lost: bool = False) -> Report:
    """Assert that ``verify`` finds no violation, and that Kafka has what is accounted for as published.

    ``in_flight_lost``: Kafka was gone at the end, so it may have what it could not acknowledge any more.
    """
    report = await _verified(bootstrap_servers, prefix)
    assert report.violations == []
    records = report.records - sum(row.repeats for row in report.rows)
    most = accounts["published"] + (accounts["undelivered"] if in_flight_lost else 0)
    assert accounts["published"] <= records <= most
    return report


async def _verified(bootstrap_servers: str, prefix: str) -> Report:
    """Verify once Kafka permits it: a broker that was stopped for seconds is out of its cluster for a moment."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return await verified(bootstrap_servers, prefix)
        except KafkaUnreachable:
            assert time.monotonic() < deadline


async def status(bridge: Process) -> Mapping[str, Any]:
    """Return the document of ``/status``."""
    port = (await bridge.logged("HTTP server listening"))["port"]
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/status") as answer:
        document: dict[str, Any] = await answer.json()
        return document


async def until(bridge: Process, holds: Callable[[Mapping[str, Any]], object], what: str) -> Mapping[str, Any]:
    """Poll ``/status`` until a condition holds."""
    deadline = time.monotonic() + bridge.deadline_seconds
    while not holds(now := await status(bridge)):
        assert time.monotonic() < deadline, f"{what}: {now}"
        await asyncio.sleep(0.02)
    return now
