"""The latest state of each symbol: what is merged, when it is complete, and what has no room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.errors import BadLine
from bridge.market_data import FIELDS, EventType, Update, UpdateKind
from bridge.pipeline.latest import MAX_RELEASED, LatestStates
from bridge.pipeline.partition_queue import TOMBSTONE
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import LatestTopic, Topic
from tests.pipeline.test_ingest import SCHEMAS, SYMBOLS, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

BID, ASK = frozenset({"bidPrice", "bidSize"}), frozenset({"askPrice"})
EVERY_QUOTE_FIELD: dict[str, Any] = {
    "bidPrice": "1",
    "bidSize": 1,
    "bidExchange": "Q",
    "askPrice": "2",
    "askSize": 2,
    "askExchange": "P",
    "quoteTimestamp": 1_701_450_000_000,
}


class LatestTable(Table):
    """A table that keeps the latest states of quotes and trades."""

    def __init__(self, subscribed: Mapping[str, Mapping[Topic, frozenset[str]]] | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.buffer.open(dict.fromkeys(LatestTopic, 1))
        if subscribed is None:
            fields = {Topic.QUOTES: BID | ASK, Topic.TRADES: frozenset({"lastPrice"})}
            subscribed = dict.fromkeys(SYMBOLS, fields)
        serializer = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS))
        self.latest = LatestStates(serializer, self.buffer, self.accounts, self.ingest._decimals, subscribed)
        self.ingest.latest = self.latest
        self.ingest.start_session(7)

    async def published(self, topic: LatestTopic = LatestTopic.QUOTES) -> list[dict[str, Any]]:
        """Release once, and return the records that wait, which are then acknowledged."""
        for _ in self.latest.release():
            pass
        decoder = Deserializer(SCHEMAS)
        queue = self.buffer.queue_for(topic, None)
        found = [(await decoder.decode(value)).record for _, _, value, _ in queue.waiting if value != TOMBSTONE]
        self.acknowledge()
        assert self.accounts.balance == 0
        return found


def known(record: dict[str, Any]) -> dict[str, Any]:
    """Return the market fields that have a value."""
    common = {"symbol", "ingest_time_us", "session_id", "seq", "after_gap", "cleared", "feed_time"}
    return {name: str(value) for name, value in record.items() if value is not None and name not in common}


async def test_updates_are_merged_and_published_once() -> None:
    """One record has the newest of each field, without changes; without an update there is none."""
    table = LatestTable()
    table.take(UpdateKind.QUOTE, bidPrice="1.1", bidSize=5, bidChange="0.1", at_us=1_000_000)
    table.take(UpdateKind.QUOTE, bidPrice="1.2", at_us=2_000_000)

    [record] = await table.published()
    assert known(record) == {"bid_price": "1.200000000", "bid_size": "5"}
    assert (record["session_id"], record["seq"], record["ingest_time_us"]) == (7, 1, 2_000_000)
    assert await table.published() == []
    assert table.accounts.latest_published == {LatestTopic.QUOTES: 1}
    assert table.accounts.published == {Topic.QUOTES: 2}


async def test_a_field_that_was_cleared_is_null_until_it_has_a_value() -> None:
    """A null of the feed, or a value that cannot be read, removes the last known value, and the record names it."""
    table = LatestTable()
    table.take(UpdateKind.QUOTE, bidPrice="1", bidSize=5, askPrice="2")
    table.take(UpdateKind.QUOTE, bidPrice=None, bidSize="?", askPrice="3")

    [record] = await table.published()
    assert known(record) == {"ask_price": "3.000000000"}
    assert sorted(record["cleared"]) == ["bid_price", "bid_size"]
    table.take(UpdateKind.QUOTE, bidPrice="4")
    [record] = await table.published()
    assert known(record) == {"ask_price": "3.000000000", "bid_price": "4.000000000"}


async def test_a_state_is_complete_once_every_subscribed_field_came() -> None:
    """Until then it has ``after_gap``; a null counts as a value that is known; changes are no part of it."""
    table = LatestTable()
    table.take(UpdateKind.QUOTE, bidPrice="1", bidSize=5)
    assert [record["after_gap"] for record in await table.published()] == [True]
    table.take(UpdateKind.QUOTE, askPrice=None)
    assert [record["after_gap"] for record in await table.published()] == [False]

    every = LatestTable({"AAPL": {Topic.QUOTES: frozenset(FIELDS[EventType.QUOTES])}})
    every.take(UpdateKind.QUOTE, **EVERY_QUOTE_FIELD)
    every.take(UpdateKind.QUOTE, "UNKNOWN", **EVERY_QUOTE_FIELD)
    every.take(UpdateKind.QUOTE, "OTHER", bidPrice="1")
    assert [record["after_gap"] for record in await every.published()][:1] == [False]


async def test_a_composite_update_fills_both_topics() -> None:
    """Quote and trade fields of one update go to the state of their topic alone."""
    table = LatestTable()
    table.take(UpdateKind.COMPOSITE, bidPrice="1", lastPrice="2", delta="0.5")
    for _ in table.latest.release():
        pass
    decoder = Deserializer(SCHEMAS)
    found = {
        topic: [known((await decoder.decode(value)).record) for _, _, value, _ in self_queue.waiting]
        for topic in LatestTopic
        for self_queue in [table.buffer.queue_for(topic, None)]
    }
    assert found == {
        LatestTopic.QUOTES: [{"bid_price": "1.000000000"}],
        LatestTopic.TRADES: [{"last_price": "2.000000000"}],
    }


async def test_executions_and_books_are_no_part_of_a_state() -> None:
    """A time-and-sale has the fields of a trade, and changes no state; unknown fields are not kept either."""
    table = LatestTable()
    table.take(UpdateKind.TIMESALE, price="1", size=1)
    table.take(UpdateKind.LEVEL2, orderBook=["1:2:3"])
    assert await table.published(LatestTopic.TRADES) == []
    table.take(UpdateKind.TRADE, lastPrice="2", surprise="x" * 100)
    assert [known(record) for record in await table.published(LatestTopic.TRADES)] == [{"last_price": "2.000000000"}]


async def test_a_session_begins_with_nothing_known() -> None:
    """Nothing of an earlier session is merged, also what was not published yet; the id is the new one."""
    table = LatestTable()
    table.take(UpdateKind.QUOTE, bidPrice="1", bidSize=5, askPrice="2")
    table.ingest.start_session(8)
    assert await table.published() == []
    table.take(UpdateKind.QUOTE, bidPrice="3")

    [record] = await table.published()
    assert (record["session_id"], record["seq"], record["after_gap"]) == (8, 0, True)
    assert known(record) == {"bid_price": "3.000000000"}


async def test_after_a_lost_line_the_state_is_not_complete() -> None:
    """A line that is dead-lettered may have changed any field, so nothing from before it is merged."""
    table = LatestTable()
    table.take(UpdateKind.QUOTE, bidPrice="1", bidSize=5, askPrice="2")
    assert [record["after_gap"] for record in await table.published()] == [False]
    table.take(UpdateKind.QUOTE, bidPrice="?")
    table.take(UpdateKind.QUOTE, askPrice="3")

    [record] = await table.published()
    assert known(record) == {"ask_price": "3.000000000"}
    assert record["after_gap"]


async def test_records_dropped_for_room_are_in_the_state() -> None:
    """What overload drops or conflates was read, so the state has it; it waits until there is room again."""
    table = LatestTable(budget_bytes=1500)
    for number in range(1, 40):
        table.take(UpdateKind.TRADE, lastPrice=f"{number}")
    assert table.accounts.dropped[Topic.TRADES, "overload"]
    for _ in table.latest.release():
        pass
    assert not table.buffer.queue_for(LatestTopic.TRADES, None).waiting, "there is no room for copies"

    table.acknowledge()
    [record] = await table.published(LatestTopic.TRADES)
    assert known(record) == {"last_price": "39.000000000"}
    assert (record["seq"], record["after_gap"]) == (38, False)


async def test_while_kafka_takes_none_no_more_are_queued() -> None:
    """A topic that stands still has one record of each symbol waiting, not one for each interval."""
    table = LatestTable()
    for number in range(1, 10):
        table.take(UpdateKind.QUOTE, bidPrice=f"{number}")
        for _ in table.latest.release():
            pass
    assert len(table.buffer.queue_for(LatestTopic.QUOTES, None).waiting) == 1
    table.acknowledge()
    assert [known(record) for record in await table.published()] == [{"bid_price": "9.000000000"}]


async def test_what_is_unsubscribed_gets_a_tombstone() -> None:
    """A symbol, or one of its topics, that the plan no longer has is removed; one that comes back is not."""
    table = LatestTable({name: {Topic.QUOTES: BID, Topic.TRADES: frozenset({"lastPrice"})} for name in ("A", "B")})
    for name in ("A", "B"):
        table.take(UpdateKind.COMPOSITE, name, bidPrice="1", lastPrice="2")
    table.latest.set_subscribed({"B": {Topic.QUOTES: BID}}, 5_000_000)

    quotes, trades = [await _released(table, topic) for topic in LatestTopic]
    assert [(record["symbol"], len(record) > 1) for record in quotes] == [("A", False), ("B", True)]
    assert [(record["symbol"], len(record) > 1) for record in trades] == [("A", False), ("B", False)]
    table.acknowledge()
    table.latest.set_subscribed({}, 6_000_000)
    table.latest.set_subscribed({"B": {Topic.QUOTES: BID}}, 7_000_000)
    assert await _released(table, LatestTopic.QUOTES) == []


async def _released(table: LatestTable, topic: LatestTopic) -> list[dict[str, Any]]:
    """Return what waits on a topic: of a tombstone only its symbol."""
    for _ in table.latest.release():
        pass
    decoder = Deserializer(SCHEMAS)
    queue = table.buffer.queue_for(topic, None)
    return [
        {"symbol": (key or b"").decode()} if value == TOMBSTONE else (await decoder.decode(value)).record
        for _, key, value, _ in queue.waiting
    ]


async def test_many_states_are_released_in_portions() -> None:
    """The event loop runs between portions, and a session that begins meanwhile ends the rest of the old one."""
    table = LatestTable(events=(Topic.QUOTES,))
    for number in range(MAX_RELEASED + 10):
        table.ingest.ingest([(b"", Update(UpdateKind.QUOTE, f"S{number}", {"bidPrice": "1"}))], 1)
    portions = table.latest.release()
    next(portions)
    queue = table.buffer.queue_for(LatestTopic.QUOTES, None)
    assert len(queue.waiting) == MAX_RELEASED
    table.ingest.start_session(8)
    assert sum(1 for _ in portions) <= 1
    assert len(queue.waiting) == MAX_RELEASED


async def test_a_copy_that_kafka_rejects_is_only_counted() -> None:
    """It is no line: it is not dead-lettered, and changes no account and no ``after_gap`` of the stream."""
    table = LatestTable()
    table.take(UpdateKind.QUOTE, bidPrice="1")
    for _ in table.latest.release():
        pass
    queue = table.buffer.queue_for(LatestTopic.QUOTES, None)
    table.ingest.reject_waiting(queue, 0, BadLine("record_refused", "too large"))
    assert table.accounts.latest_rejected == 1
    assert table.accounts.balance == 0
    table.take(UpdateKind.QUOTE, bidPrice="2")
    assert [quote["after_gap"] for quote in await table.waiting(Topic.QUOTES)] == [True, False]
    assert not table.accounts.dead_lettered
    assert not table.buffer.queue_for(Topic.DLQ, None).waiting
