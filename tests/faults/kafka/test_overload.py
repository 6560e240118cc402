"""An outage longer than the buffer: what is kept, merged and dropped, and that all of it is announced."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.kafka.load import NOT_USABLE, create_topics
from tests.faults.proof import verified
from tests.faults.proxy import Proxy
from tests.support.process import process
from tests.support.service import control, environment, read

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

#: Far below what piles up in the outage; memory may grow by no more than some times as much.
BUDGET_BYTES = 1_000_000


async def test_an_outage_longer_than_the_budget(kafka: RealKafka, topic_prefix: str) -> None:
    """The socket is read in constant memory; quotes are merged, the rest is dropped, and every loss announced."""
    create_topics(kafka, topic_prefix)
    behind, port = kafka.proxied()
    async with Proxy(behind, port=port) as network, Simulator(rate=4_000, lines_per_frame=10) as simulator:
        environ = environment(
            simulator,
            f"localhost:{port}",
            topic_prefix,
            KAFKA_DELIVERY_TIMEOUT_SECONDS="1",
            BRIDGE_BUFFER_BYTES=str(BUDGET_BYTES),
            ARIES_STALE_AFTER_SECONDS="0",
        )
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            await simulator.wait_for(lambda: simulator.sent.lines > 4_000)
            network.turn_away()
            network.cut(reset=True)
            await bridge.logged("overload started")
            before_bytes = resident_bytes(bridge.pid)
            sent = simulator.sent.lines
            await simulator.wait_for(lambda: simulator.sent.lines > sent + 20_000, timeout_seconds=30)
            grown_bytes = resident_bytes(bridge.pid) - before_bytes
            network.heal()
            await bridge.logged("overload ended")
            sent = simulator.sent.lines
            await simulator.wait_for(lambda: simulator.sent.lines > sent + 2_000)
            simulator.rate = 0
            await simulator.drained()
            bridge.signal(signal.SIGTERM)
            code = await bridge.ended()
            accounts = bridge.all("stopped")[0]["accounts"]
    assert code == 0
    assert grown_bytes < 10 * BUDGET_BYTES
    assert len(bridge.all(NOT_USABLE)) < 40
    assert accounts["lines_received"] == simulator.sent.lines
    assert min(accounts["conflated"], accounts["dropped"]) > 1_000
    report = await verified(kafka.bootstrap_servers, topic_prefix)
    assert report.violations == []
    assert report.records - sum(row.repeats for row in report.rows) == accounts["published"]
    announced = control(await read(kafka.bootstrap_servers, topic_prefix, Topic.CONTROL))
    assert [one["reason"] for one in announced if one["kind"] == "OVERLOAD"] == ["started", "ended"]


def resident_bytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
