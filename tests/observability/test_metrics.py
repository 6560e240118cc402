"""Metrics have the names and labels that dashboards and alerts use, and the values of the accounts."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

import bridge as package
from bridge import settings
from bridge.app import Bridge
from bridge.errors import DisconnectCause
from bridge.market_data import Reply
from bridge.observability.latency import BUCKETS
from bridge.observability.metrics import (
    DEAD_LETTER_REASONS,
    DROPS,
    FILTERED_KINDS,
    BridgeCollector,
    exposition,
    registry,
)
from bridge.observability.rate_history import RateHistory
from bridge.serialization.readable_fields import READ_FIELDS
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import MARKET_DATA, Topic
from tests.observability.http_client import client
from tests.support.service import environment, eventually, serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.metrics_core import Metric

    from bridge.kafka.embedded_broker import EmbeddedBroker

Labels = set[tuple[str, ...]]
DATA: Labels = {(f"aries.{topic}",) for topic in MARKET_DATA}
ONE: Labels = {()}
#: Type and, from the start, label values of every metric; None: unknown at the start.
CONTRACT: Mapping[str, tuple[str, tuple[str, ...], Labels | None]] = {
    "lines_received_total": ("counter", (), ONE),
    "records_published_total": ("counter", ("topic",), DATA),
    "records_conflated_total": ("counter", ("topic",), {("aries.quotes",), ("aries.greeks",)}),
    "records_dropped_total": (
        "counter",
        ("topic", "reason"),
        {(f"aries.{topic}", reason) for topic, reason in DROPS},
    ),
    "records_undelivered_total": ("counter", ("topic",), DATA | {("aries.dlq",)}),
    "dead_letters_total": ("counter", ("reason",), {(reason,) for reason in DEAD_LETTER_REASONS}),
    "lines_filtered_total": ("counter", ("kind",), {(kind,) for kind in FILTERED_KINDS}),
    "unknown_fields_total": ("counter", ("field",), set()),
    "bad_fields_total": (
        "counter",
        ("topic", "field"),
        {(f"aries.{topic}", field) for topic, fields in READ_FIELDS.items() for field in fields},
    ),
    "connected": ("gauge", (), ONE),
    "authenticated": ("gauge", (), ONE),
    "reconnects_total": ("counter", ("cause",), {(cause.value,) for cause in DisconnectCause}),
    "feed_gap_seconds_total": ("counter", (), ONE),
    "last_data_timestamp_seconds": ("gauge", ("topic",), None),
    "buffer_bytes": ("gauge", (), ONE),
    "receive_to_ack_seconds": ("histogram", (), ONE),
    "produce_ack_seconds": ("histogram", (), ONE),
    "producer_rebuilds_total": ("counter", (), ONE),
    "token_expiry_timestamp_seconds": ("gauge", (), None),
    "subscribed_symbols": ("gauge", (), ONE),
    "event_loop_lag_seconds": ("gauge", (), ONE),
    # beyond the contract
    "build_info": ("gauge", ("version",), {(package.__version__,)}),
    "lines_split_total": ("counter", (), ONE),
    "records_pending": ("gauge", (), ONE),
    "prices_rounded_total": ("counter", (), ONE),
    "conflation_held": ("gauge", (), ONE),
    "control_records_total": ("counter", (), ONE),
    "control_records_rejected_total": ("counter", (), ONE),
    "latest_published_total": ("counter", ("topic",), {("aries.quotes.latest",), ("aries.trades.latest",)}),
    "latest_rejected_total": ("counter", (), ONE),
    "symbols": ("gauge", (), ONE),
    "refused_symbols": ("gauge", (), ONE),
    "market_open": ("gauge", (), None),
    "oldest_symbol_age_seconds": ("gauge", ("topic",), {("aries.quotes",)}),
    "chain_contracts": ("gauge", ("underlying",), set()),
    "chain_resolved_timestamp_seconds": ("gauge", ("underlying",), set()),
    "chain_failures_total": ("counter", ("underlying", "reason"), set()),
    "stale_symbols": ("gauge", ("topic",), {("aries.quotes",)}),
    "kafka_acking": ("gauge", (), ONE),
    "kafka_connected": ("gauge", (), ONE),
    "kafka_topics_missing": ("gauge", (), ONE),
    "buffer_budget_bytes": ("gauge", (), ONE),
    "overloaded": ("gauge", (), ONE),
    "capture_frames_total": ("counter", (), ONE),
    "capture_frames_dropped_total": ("counter", (), ONE),
    "capture_incidents_total": ("counter", (), ONE),
}
LEAST = {"ARIES_ACCESS_TOKEN": "token", "ARIES_SYMBOLS": "AAPL", "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092"}


def parsed(text: str) -> dict[str, Metric]:
    """Return the bridge's metrics by name without the prefix."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("aries_bridge_"):
            name = family.name.removeprefix("aries_bridge_")
            found[f"{name}_total" if family.type == "counter" else name] = family
    return found


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Return the samples of a family by their label values."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def by_labels(family: Metric, names: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Return the label values that occur, in the order of ``names``; a histogram's bounds aside."""
    found = set()
    for sample in family.samples:
        assert set(sample.labels) - {"le"} == set(names), sample
        found.add(tuple(sample.labels[name] for name in names))
    return found


def unstarted(**environ: str) -> tuple[Bridge, BridgeCollector]:
    bridge = Bridge(settings.load({**LEAST, **environ}))
    return bridge, BridgeCollector(bridge, RateHistory(bridge.accounts), lambda text: text.replace("s3cret", "***"))


async def scraped(collector: BridgeCollector) -> dict[str, Metric]:
    return parsed(exposition(registry(collector))[0].decode())


async def test_names_types_and_labels_are_those_of_the_contract() -> None:
    """No metric is missing, none is added, and known label values exist from the start."""
    found = await scraped(unstarted()[1])
    assert found.keys() == CONTRACT.keys()
    for name, (kind, labels, at_start) in CONTRACT.items():
        assert found[name].type == kind, name
        assert found[name].documentation.endswith("."), name
        assert by_labels(found[name], labels) == (at_start or set()), name
        if kind == "counter":
            assert set(values(found[name]).values()) <= {0.0}, name


def test_every_reason_and_kind_exists_from_the_start() -> None:
    """The label values that the source can produce are those that start at 0."""
    reasons = set()
    for file in Path(package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadLine":
                assert isinstance(node.args[0], ast.Constant), f"{file}:{node.lineno}"
                reasons.add(node.args[0].value)
    assert reasons | {"bad_field"} == set(DEAD_LETTER_REASONS)
    assert {*(reply.counted_as for reply in Reply.__subclasses__()), "not_subscribed", "empty"} == set(FILTERED_KINDS)


async def test_labels_of_unknown_fields_are_valid() -> None:
    """The feed's names are redacted, encodable and short, and none occurs twice."""
    bridge, collector = unstarted()
    bridge.ingest.unknown_fields = {
        "a" + chr(0xD800): 1,
        "a" + chr(0xDFFF): 2,
        "x" * 200: 3,
        "x" * 300: 4,
        's3cret"\n': 5,
    }
    found = values((await scraped(collector))["unknown_fields_total"])
    assert found == {("a?",): 3, ("x" * 100,): 7, ('***"\n',): 5}


async def test_topics_are_named_as_in_kafka() -> None:
    """A renamed topic has its Kafka name in every label."""
    _, collector = unstarted(KAFKA_TOPIC_PREFIX="mine", KAFKA_TOPIC_L2="books")
    found = await scraped(collector)
    assert {topic for (topic,) in values(found["records_published_total"])} >= {"books", "mine.quotes"}


async def test_two_bridges_share_no_metric() -> None:
    """Nothing is registered globally."""
    one, of_one = unstarted()
    _, of_other = unstarted()
    one.accounts.lines_received = 5
    assert values((await scraped(of_one))["lines_received_total"])[()] == 5
    assert values((await scraped(of_other))["lines_received_total"])[()] == 0
    assert "process_resident_memory_bytes" in exposition(registry(of_one))[0].decode()


@pytest.mark.parametrize("conflate_ms", ["0", "200"])
async def test_metrics_have_the_values_of_the_accounts(
    conflate_ms: str, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """After a stream with a gap, an invalid line and an unknown field, each value is that of its object."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(dialect="envelope", lines_per_frame=3) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, BRIDGE_CONFLATE_MS=conflate_ms)
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.emit(300)
            await simulator.quote("AAPL", bidPrice="1", novelty=7)
            await simulator.inject(faults.Garbage())
            await eventually(lambda: bridge.accounts.dead_lettered, "the dead letter")
            await simulator.inject(faults.Drop())
            await simulator.connected(2)
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: bridge.client.state == "streaming", "streaming again")
            await eventually(lambda: not bridge.accounts.pending and bridge.buffer.empty, "all acknowledged")
            answer = await http.get("/metrics")
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            found = {name: values(family) for name, family in parsed(answer.text).items()}
            accounts = bridge.accounts
            histogram = parsed(answer.text)["receive_to_ack_seconds"]
    name = {topic: f"{topic_prefix}.{topic}" for topic in Topic}
    assert found["lines_received_total"] == {(): accounts.lines_received}
    assert found["lines_split_total"] == {(): accounts.split}
    assert found["records_published_total"] == {(name[topic],): accounts.published[topic] for topic in MARKET_DATA}
    assert found["records_conflated_total"][name[Topic.QUOTES],] == accounts.conflated[Topic.QUOTES]
    assert bool(accounts.conflated) == (conflate_ms != "0")
    assert {kind: n for (kind,), n in found["lines_filtered_total"].items() if n} == accounts.filtered
    assert {reason: n for (reason,), n in found["dead_letters_total"].items() if n} == {"not_json": 1}
    assert found["unknown_fields_total"] == {("novelty",): 1}
    sums = defaultdict(float, {key: sum(samples.values()) for key, samples in found.items() if samples})
    assert sums["lines_received_total"] + sums["lines_split_total"] == (
        sums["records_published_total"]
        + sums["records_conflated_total"]
        + sums["lines_filtered_total"]
        + sums["dead_letters_total"]
        + sums["records_dropped_total"]
        + sums["records_undelivered_total"]
        + sums["records_pending"]
    )
    assert found["control_records_total"] == {(): 6}  # two sessions, a gap between
    assert found["reconnects_total"]["network",] == 1
    assert sums["reconnects_total"] == 1
    assert 0 < sums["feed_gap_seconds_total"] == bridge.client.connection_history.gap_seconds(0)
    for gauge, value in {"connected": 1, "authenticated": 1, "kafka_acking": 1, "market_open": 1, "symbols": 2}.items():
        assert found[gauge] == {(): value}, gauge
    assert found["subscribed_symbols"] == {(): 2}
    assert found["buffer_bytes"] == found["records_pending"] == {(): 0}
    assert found["last_data_timestamp_seconds"][name[Topic.QUOTES],] == bridge.ingest.last_data_us[Topic.QUOTES] / 1e6
    buckets = {sample.labels["le"]: sample.value for sample in histogram.samples if sample.name.endswith("_bucket")}
    assert [*buckets.values()] == sorted(buckets.values())
    assert [*buckets] == [*map(str, BUCKETS), "+Inf"]
    [count] = [sample.value for sample in histogram.samples if sample.name.endswith("_count")]
    assert 0 < buckets["+Inf"] == count
