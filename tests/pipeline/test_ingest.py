"""Lines to records: stamps, accounts, dead letters, conflation and overload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.aries.protocol.messages import Pong
from bridge.errors import BadLine
from bridge.kafka.partitioner import partition
from bridge.market_data import Update, UpdateKind
from bridge.pipeline import routing
from bridge.pipeline.accounts import Accounts
from bridge.pipeline.dead_letters import MAX_RAW_BYTES, DeadLetters
from bridge.pipeline.ingest import MAX_FIELD_NAME_CHARACTERS, Ingest
from bridge.pipeline.overload import Overload
from bridge.pipeline.record_buffer import RecordBuffer
from bridge.serialization import schemas
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.fast import FastSerializer
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import AnyTopic, Topic, latest_topic_names, topic_names

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from bridge.pipeline.dead_letter_limit import DeadLetterLimit

SCHEMAS = schemas.load()
SYMBOLS = ("AAPL", "MSFT", "A", "B", "C")
EVENTS = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.GREEKS)


class Table:
    """An intake and what it is set between, without a producer."""

    def __init__(
        self,
        *,
        budget_bytes: int = 1 << 20,
        conflate_ms: int = 0,
        events: tuple[Topic, ...] = EVENTS,
        limit: DeadLetterLimit | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.accounts = Accounts()
        names: dict[AnyTopic, str] = dict([*topic_names("t", {}).items(), *latest_topic_names("t", {}).items()])
        self.buffer = RecordBuffer(names, self.accounts, budget_bytes, partition=partition)
        self.buffer.open(dict.fromkeys(Topic, 1))
        prefixes = single_object_prefixes(SCHEMAS)
        serializer = Serializer(SCHEMAS, prefixes)
        decimals = DecimalEncoder()
        self.overloads: list[bool] = []
        self.on_overload: Callable[[bool], None] = self.overloads.append
        overload = Overload(self.buffer, self)
        self.ingest = Ingest(
            serializer=serializer,
            fast_serializer=FastSerializer(SCHEMAS, prefixes, decimals),
            decimals=decimals,
            buffer=self.buffer,
            accounts=self.accounts,
            overload=overload,
            dead_letters=DeadLetters(
                serializer, self.buffer, self.accounts, overload, dialect="envelope", redact=redact, limit=limit
            ),
            wanted=dict.fromkeys(SYMBOLS, frozenset(events)),
            conflate_ms=conflate_ms,
        )
        self.ingest.start_session(7)

    def overload(self, started: bool, buffer_bytes: int) -> None:  # noqa: FBT001 - as of the control events it stands for
        """Note an announcement of overload."""
        self.on_overload(started)

    def take(self, kind: UpdateKind, symbol: str = "AAPL", *, at_us: int = 1_000_000, **fields: object) -> None:
        self.ingest.ingest([(b"raw", Update(kind, symbol, dict(fields)))], at_us)

    def acknowledge(self) -> None:
        """Acknowledge everything in the queues."""
        while queues := self.buffer.take_ready():
            for queue in queues:
                self.buffer.start_batch(queue, len(queue.waiting), now=0)
                self.buffer.acknowledge(queue)
                self.ingest.release_after_overload(0)

    async def waiting(self, topic: Topic) -> list[dict[str, Any]]:
        decoder = Deserializer(SCHEMAS)
        queue = self.buffer.queue_for(topic, None)
        return [(await decoder.decode(value)).record for _, _, value, _ in queue.waiting]


async def test_records_are_numbered_per_symbol_and_topic_and_the_first_is_after_a_gap() -> None:
    """In each session ``seq`` counts from 0 for each symbol, and the first record has ``after_gap``."""
    table = Table()
    for bid in ("1.1", "1.2"):
        table.take(UpdateKind.QUOTE, "AAPL", bidPrice=bid)
    table.take(UpdateKind.QUOTE, "MSFT", bidPrice="5")
    quotes = await table.waiting(Topic.QUOTES)
    assert [(q["symbol"], q["seq"], q["after_gap"], q["session_id"]) for q in quotes] == [
        ("AAPL", 0, True, 7),
        ("AAPL", 1, False, 7),
        ("MSFT", 0, True, 7),
    ]


async def test_a_new_session_counts_from_zero_after_a_gap() -> None:
    """After a reconnect every symbol starts over, visibly."""
    table = Table()
    table.take(UpdateKind.QUOTE, bidPrice="1")
    table.ingest.start_session(8)
    table.take(UpdateKind.QUOTE, bidPrice="2")
    quotes = await table.waiting(Topic.QUOTES)
    assert [(q["session_id"], q["seq"], q["after_gap"]) for q in quotes] == [(7, 0, True), (8, 0, True)]


async def test_a_composite_line_becomes_a_quote_and_a_trade_and_is_counted_as_split() -> None:
    """One line with fields of both kinds is two records; the accounts say so."""
    table = Table()
    table.take(UpdateKind.COMPOSITE, bidPrice="1.5", lastPrice="1.4")
    assert [len(await table.waiting(topic)) for topic in (Topic.QUOTES, Topic.TRADES)] == [1, 1]
    assert (table.accounts.lines_received, table.accounts.split, table.accounts.pending) == (1, 1, 2)
    assert table.accounts.balance == 0


def test_a_line_that_is_no_record_by_design_is_filtered_by_kind() -> None:
    """Session messages, empty updates and event types without a subscription are counted by name."""
    table = Table(events=(Topic.QUOTES,))
    table.ingest.ingest([(b"raw", Pong())], 1)
    table.take(UpdateKind.QUOTE, instrumentType="e")
    table.take(UpdateKind.TIMESALE, price="1", size=1)
    assert dict(table.accounts.filtered) == {"pong": 1, "empty": 1, "not_subscribed": 1}
    assert table.accounts.balance == 0


def test_market_status_is_wanted_whatever_is_subscribed() -> None:
    """The market's hours always come."""
    table = Table(events=(Topic.QUOTES,))
    table.take(UpdateKind.MARKET_STATUS, "market", market="open")
    assert table.accounts.pending == 1


async def test_a_value_that_cannot_be_read_costs_its_field_only() -> None:
    """Both records of the line are published; the field is null, named in ``cleared``, and counted with an example."""
    table = Table()
    with structlog.testing.capture_logs() as logs:
        table.take(UpdateKind.COMPOSITE, bidPrice="1.5", lastPrice="not a price", size=0.5, at_us=5_000_000)
        table.take(UpdateKind.COMPOSITE, bidPrice="1.6", lastPrice="neither", at_us=6_000_000)
    trades = await table.waiting(Topic.TRADES)
    assert [(trade["last_price"], trade["cleared"]) for trade in trades] == [
        (None, ["last_price", "size"]),
        (None, ["last_price"]),
    ]
    assert [(quote["seq"], quote["cleared"]) for quote in await table.waiting(Topic.QUOTES)] == [(0, []), (1, [])]
    bad_fields = table.ingest.bad_fields
    assert bad_fields.counts == {(Topic.TRADES, "lastPrice"): 2, (Topic.TRADES, "size"): 1}
    example = bad_fields.examples[Topic.TRADES, "lastPrice"]
    assert (example.symbol, example.value, example.ingest_us) == ("AAPL", "'neither'", 6_000_000)
    assert [(log["field"], log["value"]) for log in logs] == [("lastPrice", "'not a price'"), ("size", "0.5")]
    assert (table.accounts.dead_lettered.total(), table.accounts.balance) == (0, 0)


async def test_a_line_without_usable_content_is_dead_lettered_and_consumers_see_that_it_is_missing() -> None:
    """If nothing of a line can be read, it becomes a dead letter; the next record has ``after_gap``."""
    table = Table()
    table.take(UpdateKind.COMPOSITE, bidPrice="1.4", lastPrice="1.3")
    table.take(UpdateKind.COMPOSITE, bidPrice=[], lastPrice="not a price")
    table.take(UpdateKind.QUOTE, bidPrice="1.6")
    table.take(UpdateKind.TRADE, lastPrice="1.7")
    (letter,) = await table.waiting(Topic.DLQ)
    assert (letter["reason"], letter["raw"], letter["symbol"]) == ("bad_field", b"raw", "AAPL")
    assert "bidPrice" in letter["error"]
    for topic in (Topic.QUOTES, Topic.TRADES):
        found = await table.waiting(topic)
        assert [(one["seq"], one["after_gap"]) for one in found] == [(0, True), (2, True)]
    assert not table.ingest.bad_fields.counts
    assert table.accounts.balance == 0


async def test_an_execution_without_its_price_is_dead_lettered() -> None:
    """A time and sale is nothing without its price, whether that is missing, null or unreadable."""
    table = Table()
    table.take(UpdateKind.TIMESALE, size=1)
    for price in (None, "N/A", -1):
        table.take(UpdateKind.TIMESALE, price=price, size=1)
    letters = await table.waiting(Topic.DLQ)
    assert [letter["reason"] for letter in letters] == ["bad_field"] * 4
    assert all("price" in letter["error"] for letter in letters)
    assert not await table.waiting(Topic.TIMESALES)
    table.take(UpdateKind.TIMESALE, price="1.5", size="-")
    (sale,) = await table.waiting(Topic.TIMESALES)
    assert (str(sale["price"]), sale["size"], sale["seq"]) == ("1.500000000", None, 4)


async def test_a_cancel_or_correction_is_never_published_as_an_execution() -> None:
    """An update of a known kind with a field that says so becomes a dead letter; a field that denies it does not."""
    table = Table()
    table.take(UpdateKind.TIMESALE, price="1.5", size=1, tradeCancel=True)
    table.take(UpdateKind.COMPOSITE, lastPrice="1.5", bidPrice="1.4", originalPrice="1.6")
    table.take(UpdateKind.TRADE, price="1.5", cancelErrorAction="Cancel")
    letters = await table.waiting(Topic.DLQ)
    assert [letter["reason"] for letter in letters] == ["unknown_kind"] * 3
    table.take(UpdateKind.TIMESALE, price="1.5", size=1, tradeCancel=False, originalPrice=None)
    table.take(UpdateKind.QUOTE, bidPrice="1.4", correction=True)
    assert [len(await table.waiting(topic)) for topic in (Topic.TIMESALES, Topic.TRADES, Topic.QUOTES)] == [1, 0, 1]
    assert table.accounts.balance == 0


async def test_a_withdrawn_side_is_published() -> None:
    """An update of nulls only says that these values no longer hold."""
    table = Table()
    table.take(UpdateKind.QUOTE, bidPrice=None, bidSize=None)
    table.take(UpdateKind.GREEKS, delta=None)
    table.take(UpdateKind.LEVEL2, orderBook=None)
    table.take(UpdateKind.MARKET_STATUS, "market", market=None)
    (quote,) = await table.waiting(Topic.QUOTES)
    assert (quote["bid_price"], quote["cleared"]) == (None, ["bid_price", "bid_size"])
    (greeks,) = await table.waiting(Topic.GREEKS)
    assert greeks["cleared"] == ["delta"]
    (book,) = await table.waiting(Topic.L2)
    assert (book["book"], book["cleared"], book["is_full"]) == ([], ["book"], None)
    assert dict(table.accounts.filtered) == {"empty": 1}
    assert table.accounts.balance == 0


async def test_a_timer_that_fires_early_releases_no_second_record_of_an_interval() -> None:
    """At most one record per symbol in each interval, by the clock; at the end of the process all are released."""
    table = Table(conflate_ms=100)
    table.take(UpdateKind.QUOTE, bidPrice="1", at_us=1_000_000)
    table.take(UpdateKind.QUOTE, bidPrice="2", at_us=1_050_000)
    table.ingest.release(1_099_400)
    assert len(await table.waiting(Topic.QUOTES)) == 1
    table.ingest.release(1_100_000)
    assert len(await table.waiting(Topic.QUOTES)) == 2
    table.take(UpdateKind.QUOTE, bidPrice="3", at_us=1_150_000)
    table.ingest.release(1_199_999)
    assert len(await table.waiting(Topic.QUOTES)) == 2
    assert table.ingest.release_all(1_199_999)
    assert len(await table.waiting(Topic.QUOTES)) == 3


async def test_conflation_keeps_what_was_cleared_until_it_is_set_again() -> None:
    """The merged record names the fields that have no value at its end, and no changes between messages."""
    table = Table(conflate_ms=100)
    table.take(UpdateKind.QUOTE, bidPrice="1")
    table.take(UpdateKind.QUOTE, bidPrice="2", bidChange="1", askPrice="9", askSize=5)
    table.take(UpdateKind.QUOTE, bidPrice=None, bidSize=None, askSize="?")
    table.take(UpdateKind.QUOTE, bidSize=7, askChange="1")
    table.ingest.release(1_100_000)
    _, merged = await table.waiting(Topic.QUOTES)
    assert (merged["bid_price"], merged["bid_size"], merged["ask_size"]) == (None, 7, None)
    assert str(merged["ask_price"]) == "9.000000000"
    assert merged["cleared"] == ["bid_price", "ask_size"]
    assert (merged["bid_change"], merged["ask_change"]) == (None, None)


async def test_a_conflated_record_that_is_alone_keeps_its_changes() -> None:
    """Nothing was merged into it, so its changes are those from the record before."""
    table = Table(conflate_ms=100)
    table.take(UpdateKind.QUOTE, bidPrice="1")
    table.take(UpdateKind.QUOTE, bidPrice="2", bidChange="1")
    table.ingest.release(1_100_000)
    _, alone = await table.waiting(Topic.QUOTES)
    assert str(alone["bid_change"]) == "1.000000000"


async def test_a_line_too_long_for_kafka_is_cut_in_its_dead_letter_and_the_letter_says_so() -> None:
    """A dead letter always fits."""
    table = Table(budget_bytes=1 << 24)
    table.ingest.ingest([(b"x" * 2_000_000, BadLine("not_json", "no JSON"))], 1)
    (letter,) = await table.waiting(Topic.DLQ)
    assert len(letter["raw"]) == MAX_RAW_BYTES
    assert "2000000 bytes" in letter["error"]


def test_a_record_too_large_for_kafka_is_dead_lettered() -> None:
    """A book with too many rows affects no other record."""
    table = Table(budget_bytes=1 << 24)
    table.take(UpdateKind.LEVEL2, orderBook=["1:1:1"], quotes=[f"{'X' * 200}:1:1:1:1"] * 9_000)
    table.acknowledge()
    assert dict(table.accounts.dead_lettered) == {"record_too_large": 1}


def test_unknown_fields_are_counted_by_name_within_bounds() -> None:
    """Drift of the vendor's format is visible, and cannot be used to fill our memory."""
    table = Table()
    table.take(UpdateKind.QUOTE, bidPrice="1", brandNew=1)
    invented: dict[str, object] = {f"field{n}" + 10_000 * "x": n for n in range(1000)}
    table.ingest.ingest([(b"raw", Update(UpdateKind.QUOTE, "AAPL", {"bidPrice": "1", **invented}))], 1)
    assert table.ingest.unknown_fields["brandNew"] == 1
    assert len(table.ingest.unknown_fields) <= 101
    assert max(map(len, table.ingest.unknown_fields)) == MAX_FIELD_NAME_CHARACTERS
    assert sum(table.ingest.unknown_fields.values()) == 1001


async def test_at_the_budget_events_are_dropped_visibly() -> None:
    """A dropped trade leaves a jump in seq, after_gap on the next record, an account and one OVERLOAD."""
    table = Table(budget_bytes=1200)
    while not table.accounts.dropped:
        table.take(UpdateKind.TIMESALE, price="1", size=1)
    table.take(UpdateKind.TIMESALE, price="1", size=1)
    published = table.accounts.pending
    assert dict(table.accounts.dropped) == {(Topic.TIMESALES, "overload"): 2}
    table.acknowledge()
    table.take(UpdateKind.TIMESALE, price="2", size=1)
    (sale,) = await table.waiting(Topic.TIMESALES)
    assert (sale["seq"], sale["after_gap"]) == (published + 2, True)
    assert table.overloads == [True, False]
    assert table.accounts.balance == 0


def test_an_overload_is_announced_after_its_line_is_accounted_for() -> None:
    """The accounts in an announcement add up, and include the line that caused it."""
    table = Table(budget_bytes=1200)
    announced: list[tuple[bool, int, int]] = []
    accounts = table.accounts
    table.on_overload = lambda started: announced.append((started, accounts.balance, accounts.dropped.total()))
    while not announced:
        table.take(UpdateKind.TIMESALE, price="1", size=1)
    table.acknowledge()
    assert announced == [(True, 0, 1), (False, 0, 1)]


async def test_after_a_rejected_record_the_next_one_is_after_a_gap() -> None:
    """A rejected record becomes a dead letter; the next one, encoded already, gets ``after_gap``."""
    table = Table()
    for price in ("1", "2"):
        table.take(UpdateKind.TIMESALE, price=price, size=1)
    queue = table.buffer.queue_for(Topic.TIMESALES, b"AAPL")
    table.ingest.reject_waiting(queue, 0, BadLine("record_refused", "too large"))
    for symbol in ("AAPL", "MSFT"):
        table.take(UpdateKind.TIMESALE, symbol, price="3", size=1)
    sales = await table.waiting(Topic.TIMESALES)
    assert [(s["symbol"], s["seq"], s["after_gap"]) for s in sales] == [
        ("AAPL", 1, True),
        ("AAPL", 2, False),
        ("MSFT", 0, True),
    ]
    (letter,) = await table.waiting(Topic.DLQ)
    assert (letter["symbol"], letter["reason"]) == ("AAPL", "record_refused")
    assert table.accounts.balance == 0


async def test_the_dead_letter_of_a_rejected_record_has_the_records_own_session_and_time() -> None:
    """Kafka may reject a record long after a reconnect, so the current session would be the wrong one."""
    table = Table()
    table.take(UpdateKind.TIMESALE, price="1", size=1, at_us=1_000)
    table.ingest.start_session(8)
    table.take(UpdateKind.TIMESALE, price="2", size=1, at_us=2_000)
    queue = table.buffer.queue_for(Topic.TIMESALES, b"AAPL")
    for _ in range(2):
        table.ingest.reject_waiting(queue, 0, BadLine("record_refused", "too large"))
    table.take(UpdateKind.TIMESALE, price="x", size=1, at_us=3_000)
    letters = await table.waiting(Topic.DLQ)
    assert [(letter["session_id"], letter["ingest_time_us"]) for letter in letters] == [(7, 1000), (8, 2000), (8, 3000)]


def test_a_control_record_that_kafka_rejects_is_counted_and_logged_once() -> None:
    """It is no line and has no dead letter, but it does not vanish; it is logged again once others got through."""
    table = Table()
    queue = table.buffer.queue_for(Topic.CONTROL, None)

    def reject() -> None:
        table.buffer.add(queue, (1, b"b", b"heartbeat", None))
        table.ingest.reject_waiting(
            queue, 0, BadLine("record_refused", "Kafka refused its record of 9 bytes: too large")
        )

    with structlog.testing.capture_logs() as logs:
        reject()
        reject()
        table.buffer.add(queue, (1, b"b", b"heartbeat", None))
        table.acknowledge()
        reject()
    assert [(log["event"], log["rejected"]) for log in logs] == [
        ("control record rejected by Kafka", 1),
        ("control record rejected by Kafka", 3),
    ]
    assert "too large" in logs[0]["reason"]
    assert (table.accounts.control_rejected, table.accounts.announced, table.accounts.balance) == (3, 1, 0)


async def test_at_the_budget_quotes_are_merged_to_the_newest_state() -> None:
    """While there is no room one quote per symbol waits, with the newest of each field; seq shows the jump."""
    table = Table(budget_bytes=1200)
    while not table.ingest.overload.active:
        table.take(UpdateKind.QUOTE, bidPrice="1", askPrice="9")
    table.take(UpdateKind.QUOTE, bidPrice="2")
    table.take(UpdateKind.QUOTE, bidPrice="3", bidSize=5)
    taken = table.accounts.lines_received
    assert (len(table.ingest.conflation), table.accounts.conflated[Topic.QUOTES]) == (1, 2)
    queues = table.buffer.take_ready()
    for queue in queues:
        table.buffer.start_batch(queue, len(queue.waiting), now=0)
        table.buffer.acknowledge(queue)
        table.ingest.release_after_overload(0)
    (quote,) = await table.waiting(Topic.QUOTES)
    assert quote["seq"] == taken - 1
    assert (str(quote["bid_price"]), str(quote["ask_price"]), quote["bid_size"]) == ("3.000000000", "9.000000000", 5)
    assert not quote["after_gap"]
    assert table.overloads == [True, False]
    assert table.accounts.balance == 0


async def test_nothing_is_merged_across_a_gap() -> None:
    """A conflated record from before a reconnect is replaced: its fields are of another session."""
    table = Table(budget_bytes=0)
    table.take(UpdateKind.QUOTE, bidPrice="1", askPrice="9")
    table.ingest.start_session(8)
    table.take(UpdateKind.QUOTE, bidPrice="2")
    table.buffer.budget_bytes = 1 << 20
    table.ingest.release_after_overload(0)
    (quote,) = await table.waiting(Topic.QUOTES)
    assert (quote["session_id"], quote["after_gap"], quote["ask_price"]) == (8, True, None)
    assert table.accounts.balance == 0


async def test_conflation_lets_one_quote_per_symbol_through_in_each_interval() -> None:
    """The first of an interval goes at once, the rest as one merged record at its end; trades are untouched."""
    table = Table(conflate_ms=100)
    for bid in ("1", "2", "3"):
        table.take(UpdateKind.QUOTE, bidPrice=bid, at_us=1_000_000)
        table.take(UpdateKind.TRADE, lastPrice=bid, at_us=1_000_000)
    assert len(await table.waiting(Topic.TRADES)) == 3
    assert [q["seq"] for q in await table.waiting(Topic.QUOTES)] == [0]
    table.ingest.release(1_100_000)
    table.take(UpdateKind.QUOTE, bidPrice="4", at_us=1_150_000)
    assert [(q["seq"], str(q["bid_price"])) for q in await table.waiting(Topic.QUOTES)] == [
        (0, "1.000000000"),
        (2, "3.000000000"),
    ]
    assert table.accounts.conflated[Topic.QUOTES] == 1
    assert table.accounts.balance == 0


def test_a_symbol_without_end_of_names_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that invents symbols is dead-lettered beyond a bound instead of filling our memory."""
    monkeypatch.setattr("bridge.pipeline.routing.MAX_SYMBOLS", 3)
    table = Table()
    for n in range(5):
        table.take(UpdateKind.QUOTE, f"S{n}", bidPrice="1")
    table.acknowledge()
    assert dict(table.accounts.dead_lettered) == {"too_many_symbols": 2}


def test_what_is_left_at_the_end_is_undelivered_wherever_it_waits() -> None:
    """Queued and conflated records are both counted when they are given up."""
    table = Table(conflate_ms=100)
    table.take(UpdateKind.QUOTE, bidPrice="1")
    table.take(UpdateKind.QUOTE, bidPrice="2")
    table.ingest.give_up()
    table.buffer.give_up()
    assert (table.accounts.undelivered[Topic.QUOTES], table.accounts.pending, table.accounts.balance) == (2, 0, 0)


_KINDS = st.sampled_from(
    [
        UpdateKind.QUOTE,
        UpdateKind.TRADE,
        UpdateKind.COMPOSITE,
        UpdateKind.TIMESALE,
        UpdateKind.GREEKS,
        UpdateKind.LEVEL2,
    ]
)
_FIELDS = st.dictionaries(
    st.sampled_from(["bidPrice", "lastPrice", "price", "size", "delta", "orderBook", "foo"]),
    st.sampled_from(["1.5", "x", 1, None, [], ["1:2:3"], True]),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.tuples(_KINDS, st.sampled_from("ABC"), _FIELDS, st.booleans(), st.booleans())),
    budget_bytes=st.sampled_from([0, 1000, 5000, 1 << 20]),
    conflate_ms=st.sampled_from([0, 10]),
)
def test_the_accounts_add_up_after_every_line(
    lines: list[tuple[UpdateKind, str, dict[str, object], bool, bool]], budget_bytes: int, conflate_ms: int
) -> None:
    """Whatever comes, and whenever acknowledgements come, no line is lost from the accounts or counted twice."""
    table = Table(budget_bytes=budget_bytes, conflate_ms=conflate_ms)
    for number, (kind, symbol, fields, acknowledged, reconnected) in enumerate(lines):
        table.take(kind, symbol, at_us=number * 3000, **fields)
        assert table.accounts.balance == 0
        in_queues = sum(map(len, table.buffer.queues()))
        assert table.accounts.pending == in_queues + len(table.ingest.conflation)
        if acknowledged:
            table.acknowledge()
            table.ingest.release(number * 3000)
        if reconnected:
            table.ingest.start_session(8 + number)
        assert table.accounts.balance == 0


async def test_a_symbol_that_is_subscribed_to_again_has_a_gap() -> None:
    """Its ``seq`` continues, and the next record has ``after_gap``; what the feed sends in between is filtered."""
    table = Table()
    quotes_only = frozenset({Topic.QUOTES})
    both = dict.fromkeys(("AAPL", "MSFT"), quotes_only)
    for wanted in (both, {"MSFT": quotes_only}, both):
        table.ingest.set_wanted(wanted)
        for symbol in ("AAPL", "MSFT"):
            table.take(UpdateKind.QUOTE, symbol, bidPrice="1")
    quotes = await table.waiting(Topic.QUOTES)
    assert [(q["seq"], q["after_gap"]) for q in quotes if q["symbol"] == "AAPL"] == [(0, True), (1, True)]
    assert [(q["seq"], q["after_gap"]) for q in quotes if q["symbol"] == "MSFT"] == [(0, True), (1, False), (2, False)]
    assert table.accounts.filtered["not_subscribed"] == 1


def test_a_removed_symbol_is_filtered_until_it_is_wanted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it had data or not, after other changes and in the next session; of many, the last are remembered."""
    table = Table()
    quotes_only = frozenset({Topic.QUOTES})
    monkeypatch.setattr(routing, "MAX_SYMBOLS", 3)
    table.ingest.set_wanted(dict.fromkeys(("AAPL", "MSFT", "QUIET"), quotes_only))
    table.take(UpdateKind.QUOTE, "AAPL", bidPrice="1")
    for wanted in (["MSFT"], ["MSFT", "TSLA"]):
        table.ingest.set_wanted(dict.fromkeys(wanted, quotes_only))
        table.take(UpdateKind.QUOTE, "AAPL", bidPrice="1")
        table.take(UpdateKind.QUOTE, "QUIET", bidPrice="1")
    table.ingest.start_session(9)
    table.take(UpdateKind.QUOTE, "AAPL", bidPrice="1")
    assert (table.accounts.filtered["not_subscribed"], table.accounts.pending) == (5, 1)
    table.take(UpdateKind.QUOTE, "TSLA.O", bidPrice="1")  # as the feed spells another
    assert table.accounts.pending == 2
    table.ingest.set_wanted(dict.fromkeys(("TSLA", "AAPL"), quotes_only))
    table.take(UpdateKind.QUOTE, "AAPL", bidPrice="1")
    assert table.accounts.pending == 3
    for number in range(10):
        table.ingest.set_wanted({"TSLA": quotes_only, f"S{number}": quotes_only})
    assert len(table.ingest._router._removed) == 3
    table.take(UpdateKind.QUOTE, "S8", bidPrice="1")
    assert table.accounts.filtered["not_subscribed"] == 6


def test_a_symbol_gets_only_the_events_it_is_subscribed_to() -> None:
    """Events that were not requested for a symbol are filtered, even if another symbol has them."""
    table = Table()
    table.ingest.set_wanted({"AAPL": frozenset({Topic.L2}), "MSFT": frozenset({Topic.QUOTES})})
    table.take(UpdateKind.QUOTE, "AAPL", bidPrice="1")
    table.take(UpdateKind.QUOTE, "MSFT", bidPrice="1")
    table.take(UpdateKind.QUOTE, "MSFT.O", bidPrice="1")
    assert (table.accounts.filtered["not_subscribed"], table.accounts.pending) == (1, 2)
