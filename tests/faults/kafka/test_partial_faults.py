"""Faults of one topic, partition or record, on a broker that answers as told: the rest goes on, with one producer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.kafka import topic_backoff
from bridge.topics import Topic
from tests.faults.kafka.load import CAN_AGAIN, CANNOT, GIVEN_UP, PATIENT, under_load

if TYPE_CHECKING:
    from tests.faults.kafka.load import Load
    from tests.support.scripted_broker import Request, ScriptedBroker

#: What a bridge of these tests calls itself.
CLIENT = "aries-bridge-test-bridge"


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
    """One warning says why; nothing is lost, repeated or dead-lettered, and the topic flows when the fault has ended."""
    sales = f"{prefix}.{Topic.TIMESALES}"
    async with under_load(scripted_broker, prefix, {**PATIENT, "ARIES_SYMBOLS": "AAPL"}) as load:
        with scripted_broker.add_rule("Produce", topic=sales, **fault):
            await load.refused()
            mark = scripted_broker.request_count
            await load.flows(1_000)
            sent = ours(scripted_broker, "Produce", mark)
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
