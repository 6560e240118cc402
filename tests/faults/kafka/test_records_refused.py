"""Records that the broker rejects: each alone becomes a dead letter, and its neighbours are published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.kafka.load import create_topics
from tests.faults.proof import prove
from tests.support.service import environment, eventually, read, running

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka


#: A line of a known symbol with a price that is none: its dead letter has a key.
BAD_FIELD = (
    b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"AAPL","bidPrice":"x"},'
    b'"timestamp":1701450000123}}'
)


async def test_a_record_too_large_for_the_broker(kafka: RealKafka, topic_prefix: str) -> None:
    """A topic with a lower limit rejects one book; it alone becomes a dead letter, with its size."""
    create_topics(kafka, topic_prefix, partitions=1, limits={Topic.L2: {"max.message.bytes": "20000"}})
    async with Simulator() as simulator:
        environ = environment(simulator, kafka.bootstrap_servers, topic_prefix, KAFKA_COMPRESSION="none")
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            for number in range(40):
                rows = [f"{row}:{number}.5:{row}" for row in range(3_000 if number == 20 else 5)]
                await simulator.level2("AAPL", orderBook=rows)
            await eventually(lambda: bridge.accounts.dead_lettered, "the dead letter")
            await eventually(lambda: bridge.accounts.pending == 0, "the neighbours")

    await prove(kafka.bootstrap_servers, topic_prefix, bridge)
    assert bridge.accounts.published[Topic.L2] == 39
    (letter,) = await read(kafka.bootstrap_servers, topic_prefix, Topic.DLQ)
    assert (letter.key, letter.record["reason"]) == ("AAPL", "record_refused")
    assert re.search(r"its record of \d+ bytes", letter.record["error"])


async def test_a_record_that_the_broker_finds_invalid(kafka: RealKafka, topic_prefix: str) -> None:
    """A compacted topic rejects records without a key: once it has taken others, those are dropped."""
    create_topics(kafka, topic_prefix, partitions=1, limits={Topic.DLQ: {"cleanup.policy": "compact"}})
    async with Simulator(rate=200) as simulator:
        async with running(environment(simulator, kafka.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.send_line(b"{broken")
            await eventually(bridge.publisher.blocked_topics, "the topic is held: it may be at fault")
            assert not bridge.accounts.dropped
            await simulator.send_line(BAD_FIELD)
            await eventually(lambda: bridge.accounts.dropped, "the letter without a key is given up")

    assert bridge.accounts.dropped == {(Topic.DLQ, "record_refused"): 1}
    await prove(kafka.bootstrap_servers, topic_prefix, bridge)
