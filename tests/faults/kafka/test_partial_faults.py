"""Faults of one topic, partition or record, on a broker that answers as told: the rest goes on, with one producer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from bridge.errors import RecordsUndelivered
from bridge.kafka import topic_backoff
from bridge.kafka.produce_requests import MAX_REQUEST_BYTES
from bridge.simulator.server import Simulator
from bridge.topics import SHARDS_TOPIC, Topic
from tests.faults.kafka.load import CAN_AGAIN, CANNOT, GIVEN_UP, PATIENCE_SECONDS, PATIENT, under_load
from tests.faults.proof import nothing_lost, prove
from tests.support.service import by_symbol, control, environment, eventually, read, running

if TYPE_CHECKING:
    from tests.faults.kafka.load import Load
    from tests.support.scripted_broker import Request, ScriptedBroker

#: What a bridge of these tests calls itself.
CLIENT = "aries-bridge-test-bridge"
#: Long enough to end a fault.
MOMENT_SECONDS = 0.1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a blocked topic again soon."""
    monkeypatch.setattr(topic_backoff, "BACKOFF_MIN_SECONDS", 0.1)
    monkeypatch.setattr(topic_backoff, "BACKOFF_MAX_SECONDS", 0.5)


@pytest.fixture
def prefix(scripted_broker: ScriptedBroker, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    scripted_broker.create_topics([f"{topic_prefix}.{topic}" for topic in Topic], partitions=2)
    return topic_prefix


def ours(broker: ScriptedBroker, key: str, since: int = 0) -> list[Request]:
    """Return the requests of the bridge."""
    return [one for one in broker.requests(key, since) if one.client_id == CLIENT]


async def proof_of_one_producer(load: Load, broker: ScriptedBroker) -> None:
    """Assert that all arrived once, in order, by the producer that there was at the start."""
    report = await load.proof()
    assert sum(row.repeats for row in report.rows) == 0
    assert load.logged(GIVEN_UP) == []
    assert len(ours(broker, "InitProducerId")) == 1


def _is_left_alone(load: Load, topic: str) -> bool:
    """Return whether no rejected record of a topic is looked for, or the topic is not written for a moment."""
    publisher = load.bridge.publisher
    queues = [queue for queue in load.bridge.buffer.queues() if queue.name == topic]
    retries = [retry for queue, retry in publisher._sender._recovery._retries.items() if queue in queues]
    if all(retry.rejected_at is None for retry in retries):
        return True
    blocked = publisher._topic_backoff._topics.get(topic)
    is_held = blocked is not None and blocked.not_before > time.monotonic() + MOMENT_SECONDS
    return is_held and not any(queue.suspects or queue.in_flight for queue in queues)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"error": 29}, "Grant Write on the topic"),
        ({"error": 3}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"error": 32}, "this machine's clock"),
        ({"error": 76}, "KAFKA_COMPRESSION"),
        ({"error": 87}, "SCHEMA_REGISTRY_URL"),
        ({"error": 87, "containing": b"AAPL", "error_message": "no such schema"}, "no such schema"),
        ({"error": 119}, "error 119"),
        ({"error": 19}, "min.insync.replicas"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
async def test_a_topic_that_refuses_everything_waits_and_the_others_flow(
    scripted_broker: ScriptedBroker, prefix: str, fault: dict[str, Any], named: str
) -> None:
    """One warning says why; nothing is lost, repeated or dead-lettered, and the topic flows when the fault ends."""
    sales = f"{prefix}.{Topic.TIMESALES}"
    async with under_load(scripted_broker, prefix, {**PATIENT, "ARIES_SYMBOLS": "AAPL"}) as load:
        with scripted_broker.add_rule("Produce", topic=sales, **fault):
            await load.refused()
            mark = scripted_broker.request_count
            await load.flows(1_000)
            sent = ours(scripted_broker, "Produce", mark)
            # A fault that ends in the middle of a search would make the records that it rejected look guilty.
            await load.until(lambda: _is_left_alone(load, sales))
        await load.recovered()
        await load.flows()

    await proof_of_one_producer(load, scripted_broker)
    [warning] = load.logged(CANNOT)
    assert (warning["topic"], named in warning["reason"]) == (sales, True)
    assert len(load.logged(CAN_AGAIN)) == 1
    refused = [one for one in sent if sales in (one.topics or ())]
    assert len(refused) < len(sent) / 2


@pytest.mark.parametrize(
    "fault",
    [
        {"error": 6, "times": 3},
        {"disconnect": "after", "times": 3},
        {"disconnect": "before", "times": 3},
        {"error": 7, "times": 3},
        {"error": -1, "times": 3},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_what_a_broker_may_have_is_sent_again_until_it_says_so(
    scripted_broker: ScriptedBroker, prefix: str, fault: dict[str, Any]
) -> None:
    """A moved leader, a lost answer and a closed connection cost neither a repeat nor a producer."""
    async with under_load(scripted_broker, prefix, PATIENT) as load:
        rule = scripted_broker.add_rule("Produce", topic=f"{prefix}.{Topic.QUOTES}", **fault)
        await load.flows(2_000)
        assert rule.hits == 3

    await proof_of_one_producer(load, scripted_broker)
    assert load.logged(CANNOT) == []


async def test_batches_that_are_too_large_are_halved_for_a_while(scripted_broker: ScriptedBroker, prefix: str) -> None:
    """Batches grow again once the limit is gone."""
    sales = f"{prefix}.{Topic.TIMESALES}"
    largest = 0
    async with under_load(scripted_broker, prefix, {**PATIENT, "KAFKA_COMPRESSION": "none"}) as load:
        with scripted_broker.add_rule("Produce", topic=sales, larger_than_bytes=1_000, error=10) as rule:
            load.simulator.burst(4_000)
            await load.flows(4_000)
            assert rule.hits
        published = load.bridge.accounts.published
        for _ in range(20):  # batches of a limited size come first
            load.simulator.burst(1_000)
            target = published[Topic.TIMESALES] + 100
            await load.until(lambda target=target: published[Topic.TIMESALES] >= target)  # type: ignore[misc]
        mark = scripted_broker.request_count
        load.simulator.burst(4_000)
        await load.flows(4_000)
        batches = [batch for one in ours(scripted_broker, "Produce", mark) for batch in one.batches]
        largest = max(batch.bytes for batch in batches if batch.topic == sales)

    await proof_of_one_producer(load, scripted_broker)
    assert largest > 2_000
    assert load.logged(CANNOT) == []


async def test_a_producer_that_the_broker_has_forgotten_is_replaced(
    scripted_broker: ScriptedBroker, prefix: str
) -> None:
    """The producer ID is at fault, not the topic: one new producer, nothing lost."""
    async with under_load(scripted_broker, prefix, PATIENT) as load:
        scripted_broker.add_rule("Produce", topic=f"{prefix}.{Topic.QUOTES}", error=49, times=1)
        await load.gives_up()
        await load.flows()

    await load.proof()
    assert len(ours(scripted_broker, "InitProducerId")) == 2
    assert load.logged(CANNOT) == []


async def test_records_too_large_one_behind_the_other_are_found(
    scripted_broker: ScriptedBroker, topic_prefix: str
) -> None:
    """Books beyond the topic's limit become dead letters though no other partition proves them guilty."""
    for topic in Topic:
        limit = {"max.message.bytes": "20000"} if topic is Topic.L2 else {}
        scripted_broker.create_topic(f"{topic_prefix}.{topic}", config=limit)
    async with Simulator() as simulator:
        environ = environment(simulator, scripted_broker.bootstrap_servers, topic_prefix, KAFKA_COMPRESSION="none")
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            for number in range(40):
                rows = [f"{row}:{number}.5:{row}" for row in range(3_000 if 20 <= number < 24 else 5)]
                await simulator.level2("AAPL", orderBook=rows)
            await eventually(lambda: bridge.accounts.dead_lettered.total() == 4, "the dead letters")
            await eventually(lambda: bridge.accounts.pending == 0, "the neighbours")

    await prove(scripted_broker.bootstrap_servers, topic_prefix, bridge)
    assert bridge.accounts.published[Topic.L2] == 36
    assert len(ours(scripted_broker, "InitProducerId")) == 1


async def test_only_records_that_the_broker_names_are_dead_lettered(
    scripted_broker: ScriptedBroker, prefix: str
) -> None:
    """A broker that validates says which records it refuses (KIP-467): those of one symbol, and no other."""
    sales = f"{prefix}.{Topic.TIMESALES}"
    scripted_broker.add_rule("Produce", topic=sales, containing=b"MSFT", error=87, error_message="no such schema")
    async with under_load(scripted_broker, prefix, PATIENT) as load:
        await load.flows(2_000)
        await load.comes_to_rest()
        while load.bridge.accounts.pending:  # a record is proven guilty by one that is taken
            await load.simulator.time_and_sale("AAPL", price="1", size=1)
            await load.flows(1)

    await prove(scripted_broker.bootstrap_servers, prefix, load.bridge)
    found = by_symbol(await read(scripted_broker.bootstrap_servers, prefix, Topic.TIMESALES, Topic.DLQ))
    assert (Topic.TIMESALES, "AAPL") in found
    assert (Topic.TIMESALES, "MSFT") not in found
    letters = found[Topic.DLQ, "MSFT"]
    assert len(letters) == load.bridge.accounts.dead_lettered.total() > 100
    assert all("no such schema" in letter["error"] for letter in letters)
    assert len(ours(scripted_broker, "InitProducerId")) == 1


async def test_metadata_are_of_our_topics_alone(scripted_broker: ScriptedBroker, prefix: str) -> None:
    """On a cluster with many other partitions, also while one of ours has no leader; no request creates a topic."""
    for number in range(20):
        scripted_broker.create_topic(f"others-{number}", partitions=1_000)
    async with under_load(scripted_broker, prefix, PATIENT) as load:
        with scripted_broker.without_leader(f"{prefix}.{Topic.TIMESALES}", 0):
            await load.refused()
            await load.flows(2_000)
        await load.recovered()
        await load.flows()

    await proof_of_one_producer(load, scripted_broker)
    asked = ours(scripted_broker, "Metadata")
    assert len(asked) > 2
    own = tuple(sorted(f"{prefix}.{topic}" for topic in Topic))
    assert {one.topics for one in asked} <= {(), own, (f"{prefix}.shards",)}
    assert not any(one.allow_auto_topic_creation for one in asked)


async def test_no_request_after_an_outage_is_larger_than_brokers_read(
    scripted_broker: ScriptedBroker, topic_prefix: str
) -> None:
    """Many megabytes that wait in many partitions are sent in portions."""
    scripted_broker.create_topics([f"{topic_prefix}.{topic}" for topic in Topic], partitions=16)
    guard = scripted_broker.add_rule("Produce", request_larger_than_bytes=MAX_REQUEST_BYTES + 300_000, error=10)
    outage = scripted_broker.add_rule("Produce", delay_seconds=25)
    symbols = [f"S{number}" for number in range(64)]
    rows = [f"{row}:{row}.5:{row}" for row in range(2_000)]
    async with Simulator() as simulator:
        environ = environment(
            simulator,
            scripted_broker.bootstrap_servers,
            topic_prefix,
            ARIES_SYMBOLS=",".join(symbols),
            KAFKA_COMPRESSION="none",
            KAFKA_BATCH_BYTES="1000000",
            **PATIENT,
        )
        async with running(environ) as bridge:
            await simulator.subscribed(*symbols)
            for number in range(400):
                await simulator.level2(symbols[number % len(symbols)], orderBook=rows)
            await eventually(lambda: bridge.buffer.bytes > 2 * MAX_REQUEST_BYTES, "megabytes wait", PATIENCE_SECONDS)
            mark = scripted_broker.request_count
            outage.remove()
            await eventually(lambda: bridge.accounts.pending == 0, "all is acknowledged", PATIENCE_SECONDS)

    await prove(scripted_broker.bootstrap_servers, topic_prefix, bridge)
    nothing_lost(bridge, simulator)
    assert guard.hits == 0
    largest = max(one.bytes for one in ours(scripted_broker, "Produce", mark))
    assert 1_000_000 < largest < MAX_REQUEST_BYTES + 300_000
    assert bridge.publisher.state.rebuilds == 0


@pytest.mark.parametrize("error", [29, 19, 87], ids=["denied", "too few replicas", "refused"])
@pytest.mark.parametrize("shard", ["0", "group"])
async def test_a_drain_leaves_what_cannot_be_written(
    scripted_broker: ScriptedBroker, prefix: str, error: int, shard: str
) -> None:
    """It ends early, says that the session is complete, and counts the blocked topic's records alone as undelivered."""
    scripted_broker.create_topics([f"{prefix}.{SHARDS_TOPIC}"])
    settings = {**PATIENT, "BRIDGE_DRAIN_SECONDS": "300", "BRIDGE_SHARD": shard}
    with pytest.raises(RecordsUndelivered) as raised:  # noqa: PT012 - it is the end of this block that raises
        async with under_load(scripted_broker, prefix, settings) as load:
            scripted_broker.add_rule("Produce", topic=f"{prefix}.{Topic.TIMESALES}", error=error)
            await load.refused()
            await load.flows(1_000)

    accounts = load.bridge.accounts
    assert accounts.undelivered == {Topic.TIMESALES: raised.value.count}
    assert accounts.balance == 0
    said = control(await read(scripted_broker.bootstrap_servers, prefix, Topic.CONTROL))
    assert said[-1]["kind"] == "SESSION_COMPLETED"


async def test_a_topic_that_is_blocked_for_long_costs_the_others_nothing(
    scripted_broker: ScriptedBroker, prefix: str
) -> None:
    """Its executions are dropped beyond its share of the budget, visibly; quotes and trades never wait for room."""
    sales = f"{prefix}.{Topic.TIMESALES}"
    async with under_load(scripted_broker, prefix, {**PATIENT, "BRIDGE_BUFFER_BYTES": "2000000"}) as load:
        bridge, accounts = load.bridge, load.bridge.accounts
        load.simulator.rate = 4_000
        with scripted_broker.add_rule("Produce", topic=sales, error=29):
            await load.until(lambda: accounts.dropped[Topic.TIMESALES, "overload"] > 500)
            before = accounts.published.copy()
            await load.flows(8_000)
            flowed = accounts.published - before
            assert bridge.buffer.stalled_bytes <= 1_600_000
        await load.recovered()
        await load.until(lambda: not bridge.ingest.overload.active)
        before = accounts.published.copy()
        await load.until(lambda: accounts.published[Topic.TIMESALES] > before[Topic.TIMESALES] + 300)

    assert flowed[Topic.TIMESALES] == 0
    assert min(flowed[Topic.QUOTES], flowed[Topic.TRADES]) > 500
    assert accounts.conflated.total() == 0
    assert {topic for topic, _ in accounts.dropped} == {Topic.TIMESALES}
    assert accounts.lines_received == load.simulator.sent.lines
    assert accounts.undelivered.total() == accounts.pending == 0
    await prove(scripted_broker.bootstrap_servers, prefix, bridge)
    assert len(ours(scripted_broker, "InitProducerId")) == 1
    said = control(await read(scripted_broker.bootstrap_servers, prefix, Topic.CONTROL))
    assert [one["reason"] for one in said if one["kind"] == "OVERLOAD"] == ["started", "ended"]


async def test_a_partition_that_is_refused_leaves_its_topic_to_the_others(
    scripted_broker: ScriptedBroker, prefix: str
) -> None:
    """Too few replicas of one partition: the topic's other partition is published, and the log says it once."""
    sales = f"{prefix}.{Topic.TIMESALES}"
    symbols = ",".join(f"S{number}" for number in range(16))
    async with under_load(scripted_broker, prefix, {**PATIENT, "ARIES_SYMBOLS": symbols}) as load:
        published = load.bridge.accounts.published
        with scripted_broker.add_rule("Produce", topic=sales, partition=0, error=19):
            await load.refused()
            before = published[Topic.TIMESALES]
            await load.flows(3_000)
            assert published[Topic.TIMESALES] > before + 50
        await load.recovered()
        await load.flows()

    await proof_of_one_producer(load, scripted_broker)
    assert [line["topic"] for line in load.logged(CANNOT)] == [sales]
    assert len(load.logged(CAN_AGAIN)) == 1
