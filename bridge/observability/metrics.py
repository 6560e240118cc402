"""Prometheus metrics, read from the bridge's objects at each scrape, so that they cost nothing per record.

Label values are few and known, and start at 0, so that ``rate()`` sees the first increase. Only the names of unknown
fields come from the feed; ingest limits their number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

import bridge as package
from bridge.clock import wall_us
from bridge.errors import ChainFailure, DisconnectCause
from bridge.observability.health import readiness
from bridge.observability.latency import NAMESPACE
from bridge.pipeline.accounts import HANDED_OVER, LEASE_LOST, RATE_LIMIT
from bridge.pipeline.routing import CONFLATED
from bridge.serialization.readable_fields import READ_FIELDS
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from bridge.observability.rate_history import RateHistory
    from bridge.observability.view import BridgeView, OwnershipView

PREFIX: Final = f"{NAMESPACE}_"
#: Why a line or record is dead-lettered.
DEAD_LETTER_REASONS: Final = (
    *("bad_field", "bad_symbol", "encode", "malformed", "no_session", "not_an_object", "not_json", "not_utf8"),
    *("record_refused", "record_too_large", "too_many_symbols", "unknown_kind", "unknown_message"),
)
#: Kinds of lines that carry no record.
FILTERED_KINDS: Final = ("ack", "auth", "empty", "error", "heartbeat", "not_subscribed", "ping", "pong")
#: Topics whose records can be dropped, and why; of quotes and greeks only what a stalled queue holds beyond its share.
DROPS: Final = (
    *((topic, "overload") for topic in (*MARKET_DATA, Topic.DLQ)),
    (Topic.DLQ, "record_refused"),
    (Topic.DLQ, RATE_LIMIT),
)
#: Why a shard is claimed or released in a group.
CLAIM_CAUSES: Final = ("first", "released", "expired")
RELEASE_CAUSES: Final = ("claimed", "stopped", "unreachable", "lease_expired")
GROUP_DROPS: Final = tuple((topic, reason) for topic in MARKET_DATA for reason in (LEASE_LOST, HANDED_OVER))
_MAX_FIELD_NAME_LENGTH: Final = 100


class BridgeCollector(Collector):
    """A Prometheus collector of one bridge's metrics."""

    def __init__(self, bridge: BridgeView, history: RateHistory, redact: Callable[[str], str]) -> None:
        self._bridge = bridge
        self._history = history
        self._redact = redact

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registration does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the present value of every metric."""
        yield _info("build", "Version of the bridge.", version=package.__version__)
        yield from self._lines()
        yield from self._records()
        yield from self._aries()
        yield from self._delivery()
        yield from self._capture()
        if self._bridge.group is not None:
            yield from self._group(self._bridge.group.ownership)
        yield _gauge(
            "event_loop_lag_seconds",
            "Largest delay of an event loop timer in the last 15 s.",
            self._history.lag_seconds,
        )

    def _lines(self) -> Iterator[Metric]:
        accounts = self._bridge.accounts
        yield _counter("lines_received", "Lines read from Aries.", accounts.lines_received)
        yield _counter("lines_split", "Records beyond the first from one line.", accounts.split)
        yield _counters(
            "lines_filtered",
            "Lines that carry no record, by kind.",
            ("kind",),
            {(kind,): accounts.filtered[kind] for kind in (*FILTERED_KINDS, *accounts.filtered)},
        )
        yield _counters(
            "dead_letters",
            "Records acknowledged on the dead-letter topic, by reason.",
            ("reason",),
            {(reason,): accounts.dead_lettered[reason] for reason in (*DEAD_LETTER_REASONS, *accounts.dead_lettered)},
        )
        yield _counters(
            "unknown_fields",
            "Fields of the feed that no record has, by name (at most 100 names, then `(others)`).",
            ("field",),
            self._unknown_fields(),
        )

        names = self._bridge.settings.topics
        yield _counters(
            "bad_fields",
            "Values of the feed that could not be read and were published as null, by topic and field.",
            ("topic", "field"),
            {
                (names[topic], field): self._bridge.ingest.bad_fields.counts[topic, field]
                for topic, fields in READ_FIELDS.items()
                for field in fields
            },
        )

    def _records(self) -> Iterator[Metric]:
        accounts = self._bridge.accounts
        yield _counters(
            "records_published",
            "Records acknowledged by Kafka, by topic.",
            ("topic",),
            self._by_topic(accounts.published, MARKET_DATA),
        )
        yield _counters(
            "records_conflated",
            "Records merged into a newer record of the same symbol, by topic.",
            ("topic",),
            self._by_topic(accounts.conflated, CONFLATED),
        )
        names = self._bridge.settings.topics
        drops = DROPS if self._bridge.group is None else (*DROPS, *GROUP_DROPS)
        yield _counters(
            "records_dropped",
            "Records LOST in the bridge, by topic and reason (`overload`: the buffer was full; `rate_limit`: too many "
            "dead letters; `record_refused`: Kafka rejected a dead letter; in a group also `lease_lost`: another "
            "process may publish the shard, `handed_over`: not published in time before the shard was released).",
            ("topic", "reason"),
            {(names[topic], reason): accounts.dropped[topic, reason] for topic, reason in (*drops, *accounts.dropped)},
        )
        yield _counters(
            "records_undelivered",
            "Records LOST at exit because Kafka had not acknowledged them in time, by topic.",
            ("topic",),
            self._by_topic(accounts.undelivered, (*MARKET_DATA, Topic.DLQ)),
        )
        yield _gauge("records_pending", "Records read and not yet acknowledged.", accounts.pending)
        yield _counter(
            "prices_rounded",
            "Prices with more than nine decimal places and quantities with more than six, rounded half to even.",
            self._bridge.decimals.rounded,
        )
        yield _gauge(
            "conflation_held",
            "Conflated records that wait for their interval or for room in the buffer.",
            len(self._bridge.ingest.conflation),
        )
        yield _counter("control_records", "Records acknowledged on the control topic.", accounts.announced)
        yield _counter(
            "control_records_rejected",
            "Records LOST for the control topic because Kafka rejected them.",
            accounts.control_rejected,
        )

        latest = self._bridge.settings.latest_topics
        yield _counters(
            "latest_published",
            "Latest states acknowledged by Kafka, by topic; they are copies, and in no account of lines.",
            ("topic",),
            {(name,): accounts.latest_published[topic] for topic, name in latest.items()},
        )
        yield _counter(
            "latest_rejected",
            "Latest states that were not published: Kafka rejected them, or they were too large.",
            accounts.latest_rejected,
        )

    def _aries(self) -> Iterator[Metric]:
        bridge, client = self._bridge, self._bridge.client
        session = client.session
        yield _gauge("connected", "1 if the WebSocket connection to Aries is open.", session is not None)
        yield _gauge(
            "authenticated", "1 if the session is authenticated.", session is not None and session.authenticated
        )
        yield _gauge("symbols", "Symbols to subscribe to.", len(bridge.plans.own))
        subscribed, refused = (
            (session.subscribed_symbols, len(session.rejected_symbols))
            if session is not None and session.authenticated
            else (0, 0)
        )
        yield _gauge("subscribed_symbols", "Symbols requested in this session and not rejected.", subscribed)
        yield _gauge("refused_symbols", "Symbols that Aries rejected in this session.", refused)
        yield _counters(
            "reconnects",
            "Lost connections and failed connection attempts, by cause.",
            ("cause",),
            {(cause,): client.reconnects.get(cause, 0) for cause in DisconnectCause},
        )
        yield _counter(
            "feed_gap_seconds",
            "Time without data from the feed between sessions, including a gap that is still open.",
            client.connection_history.gap_seconds(wall_us()),
        )
        yield from self._optional()

    def _optional(self) -> Iterator[Metric]:
        """Yield the metrics that have no sample while their value is unknown."""
        bridge = self._bridge
        session = bridge.client.session
        market_open = session.keep_alive.market_open if session is not None else None
        yield _gauge("market_open", "1 if the market is open, extended hours included.", market_open)
        family = GaugeMetricFamily(
            f"{PREFIX}last_data_timestamp_seconds",
            "Time at which the newest record of a topic was read.",
            labels=("topic",),
        )
        for topic, last_us in bridge.ingest.last_data_us.items():
            family.add_metric((bridge.settings.topics[topic],), last_us / 1e6)
        yield family
        yield from self._symbol_ages()
        yield from self._chains()
        yield _gauge(
            "token_expiry_timestamp_seconds", "Time at which the access token expires.", bridge.tokens.expires_at
        )

    def _chains(self) -> Iterator[Metric]:
        chains = self._bridge.plans.chains
        contracts = GaugeMetricFamily(
            f"{PREFIX}chain_contracts",
            "Contracts of the option chains of an underlying, of all shards.",
            labels=("underlying",),
        )
        resolved = GaugeMetricFamily(
            f"{PREFIX}chain_resolved_timestamp_seconds",
            "Time at which the option chains of an underlying were last resolved.",
            labels=("underlying",),
        )
        for status in chains.statuses():
            contracts.add_metric((status.underlying,), status.contracts)
            if status.resolved_at is not None:
                resolved.add_metric((status.underlying,), status.resolved_at)
        yield contracts
        yield resolved
        yield _counters(
            "chain_failures",
            "Failed requests for option chains, by underlying and reason.",
            ("underlying", "reason"),
            {
                (status.underlying, reason): chains.failures.get((status.underlying, reason), 0)
                for status in chains.statuses()
                for reason in ChainFailure
            },
        )

    def _symbol_ages(self) -> Iterator[Metric]:
        names = self._bridge.settings.topics
        oldest = GaugeMetricFamily(
            f"{PREFIX}oldest_symbol_age_seconds",
            "Longest time without data of a symbol, in sessions and regular trading hours, by topic.",
            labels=("topic",),
        )
        stale = GaugeMetricFamily(
            f"{PREFIX}stale_symbols",
            "Symbols without data for longer than their limit, by topic; 0 while the market is closed.",
            labels=("topic",),
        )
        for topic, ages in self._bridge.symbol_ages.topics.items():
            oldest.add_metric((names[topic],), ages.oldest_seconds)
            stale.add_metric((names[topic],), ages.stale)
        yield oldest
        yield stale

    def _delivery(self) -> Iterator[Metric]:
        bridge = self._bridge
        state = bridge.publisher.state
        yield _gauge("kafka_connected", "1 if a broker answers.", state.connected)
        yield _gauge(
            "kafka_topics_missing", "Topics that do not exist yet and are waited for.", len(state.missing_topics)
        )
        acking = readiness(bridge, asyncio.get_running_loop().time())[-1].ok
        yield _gauge("kafka_acking", "1 if Kafka acknowledges batches (the `kafka` check of `/readyz`).", acking)
        yield _gauge("buffer_bytes", "Bytes of records read and not yet acknowledged.", bridge.buffer.bytes)
        yield _gauge(
            "buffer_budget_bytes", "Limit of `buffer_bytes`, set by `BRIDGE_BUFFER_BYTES`.", bridge.buffer.budget_bytes
        )
        yield _gauge(
            "overloaded",
            "1 while the buffer is full, so that records are conflated or dropped.",
            bridge.ingest.overload.active,
        )
        yield bridge.latency.receive_to_ack.collect()
        yield bridge.latency.produce_ack.collect()
        yield _counter("producer_rebuilds", "Producers replaced after a failure.", state.rebuilds)

    def _capture(self) -> Iterator[Metric]:
        recorder = self._bridge.recorder
        yield _counter("capture_frames", "Frames written to captures; 0 without them.", recorder.frames_written)
        yield _counter(
            "capture_frames_dropped",
            "Frames that are missing in captures, as the disk was full, slow or failed; the records are not affected.",
            recorder.frames_dropped,
        )
        yield _counter("capture_incidents", "Incidents written to captures.", recorder.incidents_written)

    def _group(self, group: OwnershipView) -> Iterator[Metric]:
        """Yield the metrics of a member of a group; what it does not know before it is a member has no sample."""
        is_member = group.role != "joining"
        owned = GaugeMetricFamily(f"{PREFIX}shard_owned", "1 if this process owns the shard.", labels=("shard",))
        leases = GaugeMetricFamily(
            f"{PREFIX}shard_lease_seconds",
            "How long the lease of a shard lasts that this process owns; negative if it has ended.",
            labels=("shard",),
        )
        for one in group.shards():
            owned.add_metric((str(one.shard),), one.is_owned)
            if one.is_owned and one.lease_seconds is not None:
                leases.add_metric((str(one.shard),), one.lease_seconds)
        yield owned
        yield leases
        yield _gauge(
            "shards_without_owner",
            "Shards that no process publishes, as this process reads the topic of the shards.",
            group.shards_without_owner() if is_member else None,
        )
        yield _gauge("group_members", "Members of the group.", len(group.members) if is_member else None)
        yield _gauge("group_standby", "1 if this process is a member without a shard.", group.role == "standby")
        yield _counters(
            "shard_claims",
            "Shards that this process has begun to publish, by what their former owner did (`first`: there was none).",
            ("cause",),
            {(cause,): group.claims.get(cause, 0) for cause in CLAIM_CAUSES},
        )
        yield _counters(
            "shard_releases",
            "Shards that this process has ceased to publish, by cause (`lease_expired`: its buffered records were "
            "dropped).",
            ("cause",),
            {(cause,): group.releases.get(cause, 0) for cause in RELEASE_CAUSES},
        )
        yield _gauge(
            "plan_mismatch_members",
            "Other members of the group whose subscriptions differ from those of this process.",
            len(group.different_plans),
        )
        yield _counter("group_rebalances", "Assignments that this process has got from the group.", group.rebalances)

    def _by_topic(self, counts: Mapping[Topic, int], topics: Iterable[Topic]) -> dict[tuple[str, ...], float]:
        return {(self._bridge.settings.topics[topic],): counts.get(topic, 0) for topic in topics}

    def _unknown_fields(self) -> Mapping[tuple[str, ...], float]:
        """Return the counts by redacted, shortened and encodable names; names that become equal are added up."""
        counts: Counter[tuple[str, ...]] = Counter()
        for name, count in self._bridge.ingest.unknown_fields.items():
            label = self._redact(name)[:_MAX_FIELD_NAME_LENGTH].encode("utf-8", "replace").decode()
            counts[label,] += count
        return counts


def registry(collector: BridgeCollector) -> CollectorRegistry:
    """Return a registry of the bridge's and its process's metrics; nothing is registered globally."""
    own = CollectorRegistry(auto_describe=False)
    own.register(collector)
    ProcessCollector(registry=own)
    PlatformCollector(registry=own)
    GCCollector(registry=own)
    return own


def exposition(own: CollectorRegistry) -> tuple[bytes, str]:
    """Return the response to a scrape and its content type: text format 0.0.4, which every scraper reads."""
    return generate_latest(own), CONTENT_TYPE_PLAIN_0_0_4


def _info(name: str, text: str, **labels: str) -> Metric:
    return InfoMetricFamily(PREFIX + name, text, value=labels)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=None if value is None else float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family
