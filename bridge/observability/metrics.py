"""What Prometheus scrapes: read from the bridge's objects when asked, so that no record costs anything.

Label values are few and known: each of them stands at 0 from the start, so that ``rate()`` sees the first increase.
Only the names of unknown fields are the feed's to choose; the intake bounds their number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

import bridge as package
from bridge.clock import wall_us
from bridge.errors import DisconnectCause
from bridge.observability.health import readiness
from bridge.observability.latency import BUCKETS
from bridge.pipeline.routing import CONFLATED
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from bridge.app import Bridge
    from bridge.observability.latency import Histogram
    from bridge.observability.rate_history import History

PREFIX: Final = "aries_bridge_"
#: Why a line becomes a dead letter.
DEAD_LETTER_REASONS: Final = (
    *("bad_field", "bad_symbol", "encode", "malformed", "no_session", "not_an_object", "not_json", "not_utf8"),
    *("record_refused", "record_too_large", "too_many_symbols", "unknown_kind", "unknown_message"),
)
#: What a line can be that is no record.
FILTERED_KINDS: Final = ("ack", "auth", "empty", "error", "not_subscribed", "pong")
#: What can be dropped, and why; quotes and greeks are conflated instead.
DROPS: Final = (
    *((topic, "overload") for topic in (*MARKET_DATA, Topic.DLQ) if topic not in CONFLATED),
    (Topic.DLQ, "record_refused"),
)
_LONGEST_FIELD_NAME: Final = 100


class BridgeCollector(Collector):
    """Read a bridge's state as metrics."""

    def __init__(self, bridge: Bridge, history: History, redact: Callable[[str], str]) -> None:
        self._bridge = bridge
        self._history = history
        self._redact = redact

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        yield _info("build", "Version of the bridge.", version=package.__version__)
        yield from self._lines()
        yield from self._records()
        yield from self._aries()
        yield from self._delivery()
        yield _gauge(
            "event_loop_lag_seconds",
            "By how much a timer of the event loop was late, at worst in the last 15 s.",
            self._history.lag_seconds,
        )

    def _lines(self) -> Iterator[Metric]:
        accounts = self._bridge.accounts
        yield _counter("lines_received", "Lines read from Aries.", accounts.lines_received)
        yield _counter("lines_split", "Records beyond the first that one line became.", accounts.split)
        yield _counters(
            "lines_filtered",
            "Lines that are no record, by what they are.",
            ("kind",),
            {(kind,): accounts.filtered[kind] for kind in (*FILTERED_KINDS, *accounts.filtered)},
        )
        yield _counters(
            "dead_letters",
            "Lines and records that went to the dead-letter topic, acknowledged, by reason.",
            ("reason",),
            {(reason,): accounts.dead_lettered[reason] for reason in (*DEAD_LETTER_REASONS, *accounts.dead_lettered)},
        )
        yield _counters(
            "unknown_fields",
            "Fields of the feed that no record has, by name (at most 100 names, then `(others)`).",
            ("field",),
            self._unknown_fields(),
        )

    def _records(self) -> Iterator[Metric]:
        accounts = self._bridge.accounts
        yield _counters(
            "records_published",
            "Records that Kafka has acknowledged, by topic.",
            ("topic",),
            self._by_topic(accounts.published, MARKET_DATA),
        )
        yield _counters(
            "records_conflated",
            "Records merged into a newer one of their symbol, by topic.",
            ("topic",),
            self._by_topic(accounts.conflated, CONFLATED),
        )
        names = self._bridge.settings.topics
        yield _counters(
            "records_dropped",
            "Records LOST here, by topic and reason: `overload` = the buffer was full.",
            ("topic", "reason"),
            {(names[topic], reason): accounts.dropped[topic, reason] for topic, reason in (*DROPS, *accounts.dropped)},
        )
        yield _counters(
            "records_undelivered",
            "Records LOST at the exit, as Kafka had not acknowledged them in time, by topic.",
            ("topic",),
            self._by_topic(accounts.undelivered, (*MARKET_DATA, Topic.DLQ)),
        )
        yield _gauge("records_pending", "Records read and not yet acknowledged.", accounts.pending)
        yield _counter(
            "prices_rounded", "Prices with more than nine decimals, rounded half-even.", self._bridge.prices.rounded
        )
        yield _gauge(
            "conflation_held", "Merged records that wait outside the queues.", len(self._bridge.ingest.conflation)
        )
        yield _counter("control_records", "Acknowledged records of our own on the control topic.", accounts.announced)

    def _aries(self) -> Iterator[Metric]:
        bridge, feed = self._bridge, self._bridge.client
        session = feed.session
        yield _gauge("connected", "1 while the socket to Aries is open.", session is not None)
        yield _gauge(
            "authenticated", "1 while the session is authenticated.", session is not None and session.authenticated
        )
        yield _gauge("symbols", "Symbols that are to be subscribed to.", len(bridge.plan))
        subscribed, refused = (
            (session.subscribed_symbols, len(session.rejected_symbols))
            if session is not None and session.authenticated
            else (0, 0)
        )
        yield _gauge("subscribed_symbols", "Symbols asked for in this session and not refused.", subscribed)
        yield _gauge("refused_symbols", "Symbols that Aries refused in this session.", refused)
        yield _counters(
            "reconnects",
            "Connections lost, and attempts that failed, by cause.",
            ("cause",),
            {(cause,): feed.reconnects.get(cause, 0) for cause in DisconnectCause},
        )
        yield _counter(
            "feed_gap_seconds",
            "Time for which the feed was not heard between sessions; a gap that lasts counts as it grows.",
            feed.connection_history.gap_seconds(wall_us()),
        )
        yield from self._known_at_times()

    def _known_at_times(self) -> Iterator[Metric]:
        """Yield what has no sample while it is not known: no number could stand for that."""
        bridge = self._bridge
        session = bridge.client.session
        market_open = session.keep_alive.market_open if session is not None else None
        yield _gauge("market_open", "1 while the market trades, extended hours included.", market_open)
        family = GaugeMetricFamily(
            f"{PREFIX}last_data_timestamp_seconds", "When the newest record of a topic was read.", labels=("topic",)
        )
        for topic, last_us in bridge.ingest.last_data_us.items():
            family.add_metric((bridge.settings.topics[topic],), last_us / 1e6)
        yield family
        yield _gauge("token_expiry_timestamp_seconds", "When the access token lapses.", bridge.tokens.expires_at)

    def _delivery(self) -> Iterator[Metric]:
        bridge = self._bridge
        acking = readiness(bridge, asyncio.get_running_loop().time())[-1].ok
        yield _gauge("kafka_acking", "1 while Kafka acknowledges what is sent (as in `/readyz`).", acking)
        yield _gauge("buffer_bytes", "Bytes of records read and not yet acknowledged.", bridge.buffer.bytes)
        yield _gauge("buffer_budget_bytes", "What `BRIDGE_BUFFER_BYTES` allows.", bridge.buffer.budget_bytes)
        yield _gauge(
            "overloaded", "1 while the buffer is full and records are merged or dropped.", bridge.ingest.overload.active
        )
        yield _histogram(
            "receive_to_ack_seconds",
            "From reading a line to Kafka's acknowledgement of its record; the oldest record of each batch.",
            bridge.latency.receive_to_ack,
        )
        yield _histogram(
            "produce_ack_seconds", "From sending a batch to Kafka's acknowledgement.", bridge.latency.produce
        )
        yield _counter("producer_rebuilds", "Producers given up and replaced.", bridge.publisher.state.rebuilds)

    def _by_topic(self, counts: Mapping[Topic, int], topics: Iterable[Topic]) -> dict[tuple[str, ...], float]:
        return {(self._bridge.settings.topics[topic],): counts.get(topic, 0) for topic in topics}

    def _unknown_fields(self) -> Mapping[tuple[str, ...], float]:
        """Return the counts by names that are fit to be seen; names that look the same then are one."""
        counts: Counter[tuple[str, ...]] = Counter()
        for name, count in self._bridge.ingest.unknown_fields.items():
            fit = self._redact(name)[:_LONGEST_FIELD_NAME].encode("utf-8", "replace").decode()
            counts[fit,] += count
        return counts


def registry(collector: BridgeCollector) -> CollectorRegistry:
    """Return a registry of the bridge and of its process; nothing is registered globally."""
    own = CollectorRegistry(auto_describe=False)
    own.register(collector)
    ProcessCollector(registry=own)
    PlatformCollector(registry=own)
    GCCollector(registry=own)
    return own


def exposition(own: CollectorRegistry) -> tuple[bytes, str]:
    """Return what is scraped and its content type: the text format 0.0.4, which every scraper reads."""
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


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    bounds = (*map(str, BUCKETS), "+Inf")
    buckets = zip(bounds, accumulate(histogram.counts), strict=True)
    return HistogramMetricFamily(PREFIX + name, text, buckets=list(buckets), sum_value=histogram.sum_seconds)
