"""A symbol without data for longer than its limit is found, counted, listed and announced; a quiet market is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from bridge import log_events
from bridge.kafka.partitioner import partition
from bridge.market_data import Update, UpdateKind
from bridge.observability.symbol_ages import MAX_LISTED, MAX_NAMED, PORTION, SymbolAges, TopicAges
from bridge.pipeline.assembly import assemble
from bridge.serialization import schemas
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import Topic, topic_names

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SCHEMAS = schemas.load()
#: Limit of every symbol, and so the time between two passes is 15 s.
LIMIT = 60.0


class World:
    """A pipeline, the ages of its symbols, and a clock."""

    def __init__(self, *symbols: str, limits: Mapping[Topic, Mapping[str, float]] | None = None) -> None:
        wanted = dict.fromkeys(symbols, frozenset({Topic.QUOTES, Topic.TRADES}))
        self.pipeline = assemble(
            SCHEMAS,
            names=topic_names("t", {}),
            wanted=wanted,
            dialect="envelope",
            partition=partition,
            budget_bytes=1 << 24,
            instance="here",
        )
        self.pipeline.buffer.open(dict.fromkeys(Topic, 1))
        self.start_session(1)
        self.read: list[dict[str, Any]] = []
        self.now = 1000.0
        limits = limits or {Topic.QUOTES: dict.fromkeys(symbols, LIMIT)}
        self.ages = SymbolAges(self.pipeline.ingest, self.pipeline.control, limits, LIMIT)
        self.check()

    def start_session(self, session_id: int) -> None:
        self.pipeline.ingest.start_session(session_id)
        self.pipeline.control.start_session(session_id)

    def quote(self, *symbols: str) -> None:
        lines = [(b"raw", Update(UpdateKind.QUOTE, symbol, {"bidPrice": "1"})) for symbol in symbols]
        self.pipeline.ingest.ingest(lines, round(self.now * 1e6))

    def check(self, *, market_open: bool | None = True, rejected: Collection[str] = ()) -> int:
        """Make one pass; return in how many portions."""
        portions = self.ages.check(self.now, round(self.now * 1e6), market_open=market_open, rejected=rejected)
        return sum(1 for _ in portions)

    def wait(
        self,
        seconds: float,
        *heard: str,
        market_open: bool | None = True,
        rejected: Collection[str] = (),
        consumes: bool = True,
    ) -> None:
        """Make passes for a time in which these symbols have data."""
        for _ in range(round(seconds / self.ages.interval_seconds)):
            self.now += self.ages.interval_seconds
            self.quote(*heard)
            self.check(market_open=market_open, rejected=rejected)
            if consumes:
                self.acknowledge()

    def acknowledge(self) -> None:
        buffer = self.pipeline.buffer
        while queues := buffer.take_ready():
            for queue in queues:
                buffer.start_batch(queue, len(queue.waiting), now=0)
                if queue.topic is Topic.CONTROL:
                    decode = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS)).decode
                    self.read += [decode(Topic.CONTROL, value) for _, _, value, _ in queue.in_flight]
                buffer.acknowledge(queue)

    @property
    def announced(self) -> list[str]:
        """Return the reasons of the announcements so far, as consumers get them."""
        self.acknowledge()
        return [str(record["reason"]) for record in self.read if record["kind"] == "STALE_SYMBOLS"]

    @property
    def listed(self) -> list[tuple[str, float]]:
        return [(one.symbol, one.age_seconds) for one in self.ages.oldest_stale]


def test_a_symbol_without_data_beyond_its_limit_is_stale_until_it_has_data_again() -> None:
    """It is counted and listed with its age, and announced once when that begins and once when it ends."""
    world = World("AAPL", "MSFT", "TSLA")
    world.quote("AAPL", "MSFT", "TSLA")
    world.check()
    world.wait(60, "AAPL", "TSLA")
    assert (world.ages.topics[Topic.QUOTES], world.announced) == (TopicAges(60, 0), [])
    with structlog.testing.capture_logs() as logs:
        world.wait(60, "AAPL", "TSLA")
        assert world.ages.topics[Topic.QUOTES] == TopicAges(120, 1)
        assert world.listed == [("MSFT", 120)]
        assert world.announced == ["quotes: 1 stale (MSFT)"]
        world.wait(15, "AAPL", "MSFT", "TSLA")
    assert (world.ages.topics[Topic.QUOTES], world.listed) == (TopicAges(0, 0), [])
    assert world.announced[1:] == ["quotes: 1 recovered (MSFT)"]
    assert [(one["event"], one["names"]) for one in logs] == [
        (log_events.SYMBOLS_STALE, ["MSFT"]),
        (log_events.SYMBOLS_RECOVERED, ["MSFT"]),
    ]


def test_a_symbol_that_never_had_data_counts_from_its_subscription() -> None:
    """Its age is the time in which it was subscribed, and the time of its last data is unknown."""
    world = World("AAPL", "NEVER")
    world.wait(75, "AAPL")
    assert world.listed == [("NEVER", 75)]
    assert world.ages.oldest_stale[0].heard_us is None


def test_limits_are_those_of_each_topic_and_symbol() -> None:
    """A topic without limits is not watched, and a symbol without one is never stale."""
    world = World("AAPL", "OPT", limits={Topic.QUOTES: {"AAPL": 60}, Topic.TRADES: {"AAPL": 300}})
    world.wait(90)
    assert world.ages.topics == {Topic.QUOTES: TopicAges(90, 1), Topic.TRADES: TopicAges(90, 0)}
    world.wait(300)
    assert world.ages.topics == {Topic.QUOTES: TopicAges(390, 1), Topic.TRADES: TopicAges(390, 1)}


def test_a_closed_market_does_not_count() -> None:
    """Ages stand still outside of regular hours and go on when they begin; nothing is stale or announced meanwhile."""
    world = World("AAPL", "MSFT", "DEAD")
    world.wait(75, "AAPL", "MSFT")
    world.wait(45, "AAPL")
    world.wait(3600, market_open=False)
    assert (world.ages.topics[Topic.QUOTES], world.listed) == (TopicAges(0, 0), [])
    world.wait(15, "AAPL")
    assert world.listed == [("DEAD", 135)]
    world.wait(15, "AAPL")
    assert world.listed == [("DEAD", 150), ("MSFT", 75)]
    assert world.announced == ["quotes: 1 stale (DEAD)", "quotes: 1 stale (MSFT)"]


def test_if_the_hours_are_unknown_only_time_with_data_of_others_counts() -> None:
    """A symbol is stale if others of its topic have data; if none has, the market may be closed."""
    world = World("AAPL", "MSFT")
    world.wait(3600, market_open=None)
    assert world.ages.topics[Topic.QUOTES] == TopicAges(0, 0)
    world.wait(75, "AAPL", market_open=None)
    assert world.listed == [("MSFT", 75)]


def test_an_age_survives_reconnects_and_is_announced_once() -> None:
    """The time without a session does not count, and the next session goes on where the last one ended."""
    world = World("AAPL", "MSFT")
    world.wait(75, "AAPL")
    for session in (2, 3):
        world.now += 600
        world.ages.pause(world.now)
        world.start_session(session)
        world.wait(15, "AAPL")
    assert world.listed == [("MSFT", 105)]
    world.start_session(4)
    world.wait(15, "AAPL", "MSFT")
    assert world.announced == ["quotes: 1 stale (MSFT)", "quotes: 1 recovered (MSFT)"]


def test_a_pause_of_the_process_does_not_count() -> None:
    """After a suspended machine or a blocked event loop no symbol is stale that may have had data meanwhile."""
    world = World("AAPL")
    world.now += 86_400
    world.check()
    assert world.ages.topics[Topic.QUOTES] == TopicAges(30, 0)


def test_rejected_symbols_are_not_counted() -> None:
    """Aries sends no data of them, as is reported otherwise; they do not recover either."""
    world = World("AAPL", "NOPE")
    world.wait(75, "AAPL")
    world.wait(75, "AAPL", rejected={"NOPE"})
    assert world.ages.topics[Topic.QUOTES] == TopicAges(0, 0)
    assert world.announced == ["quotes: 1 stale (NOPE)"]


def test_a_change_of_the_subscriptions_keeps_the_ages_of_the_others() -> None:
    """A new symbol counts from its subscription; one that is not wanted any more is forgotten, without recovering."""
    world = World("AAPL", "MSFT", "GONE")
    world.wait(75, "AAPL")
    world.ages.watch({Topic.QUOTES: dict.fromkeys(("AAPL", "MSFT", "NEW"), LIMIT)})
    world.wait(15, "AAPL")
    assert world.listed == [("MSFT", 90)]
    world.wait(60, "AAPL")
    assert world.listed == [("MSFT", 150), ("NEW", 75)]
    assert world.announced == ["quotes: 2 stale (MSFT, GONE)", "quotes: 1 stale (NEW)"]
    world.ages.watch({})
    world.wait(15)
    assert (world.ages.topics, world.listed) == ({}, [])


def test_a_change_of_the_subscriptions_during_a_pass_is_no_problem() -> None:
    """A pass ends with the symbols that it began with, the next one has the new ones."""
    world = World("AAPL", "MSFT")
    one_pass = world.ages.check(world.now, 0, market_open=True)
    next(one_pass)
    world.ages.watch({Topic.TRADES: {"MSFT": LIMIT}})
    assert list(one_pass) == []
    world.wait(75)
    assert world.ages.topics == {Topic.TRADES: TopicAges(75, 1)}


def test_announcements_wait_while_kafka_does_not_take_the_one_before() -> None:
    """An outage of Kafka does not pile them up: what has changed in the end is announced then."""
    world = World("AAPL", "MSFT", "TSLA")
    world.pipeline.control.heartbeat(0)
    world.wait(75, "AAPL", consumes=False)
    world.wait(60, "AAPL", "MSFT", consumes=False)
    assert world.announced == []
    world.wait(15, "AAPL", "MSFT")
    assert world.announced == ["quotes: 1 stale (TSLA)"]


def test_many_stale_symbols_are_bounded_wherever_they_are_named() -> None:
    """A pass lets others run between portions; the oldest are listed first, and an announcement names a few."""
    symbols = [f"S{number:05}" for number in range(5 * PORTION)]
    world = World(*symbols)
    world.quote(*symbols[:10])
    world.wait(30, *symbols[:10])
    with structlog.testing.capture_logs() as logs:
        world.wait(75, symbols[-1])
    assert world.check() == 5
    assert world.ages.topics[Topic.QUOTES] == TopicAges(105, len(symbols) - 1)
    assert [name for name, _ in world.listed] == symbols[10 : 10 + MAX_LISTED]
    first = world.announced[0]
    assert first.startswith("quotes: 4989 stale (S00010, S00011, ")
    assert first.endswith("and 4979 more)")
    assert first.count("S0") == MAX_NAMED
    assert all(len(one["names"]) <= MAX_NAMED for one in logs)


@pytest.mark.parametrize(("shortest", "interval"), [(0, 0), (1, 0.25), (60, 15), (3600, 15)])
def test_the_shortest_limit_decides_how_often_symbols_are_checked(shortest: float, interval: float) -> None:
    """Within the shortest limit there are several passes; without any limit there is none."""
    world = World("AAPL")
    ages = SymbolAges(world.pipeline.ingest, world.pipeline.control, {}, shortest)
    assert ages.interval_seconds == interval
