"""What a consumer learns from records: states, jumps, gaps, repeats."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bridge.consumer import MarketView, Merged, Missed, Redriven, Restarted, SymbolState
from bridge.topics import Topic
from tests.consumer.records import notable, record

if TYPE_CHECKING:
    from bridge.consumer import Event
    from bridge.serialization.schemas import AvroRecord


def take(view: MarketView, topic: Topic, *records: AvroRecord) -> list[Event]:
    """Take records and return the events besides those of records that were taken."""
    return notable(event for one in records for event in view.take(topic, one, 0))


def state(view: MarketView, topic: Topic = Topic.QUOTES) -> SymbolState:
    found = view.state(topic, "market" if topic is Topic.MARKET_STATUS else "AAPL")
    assert found is not None
    return found


def quote(seq: int, *, session: int = 7, after_gap: bool | None = None, **fields: object) -> AvroRecord:
    return record(Topic.QUOTES, fields, seq=seq, session=session, after_gap=after_gap)


class TestState:
    def test_is_merged_from_updates(self) -> None:
        """Absent fields keep their value, cleared ones are forgotten, changes are never carried over."""
        view = MarketView()
        first = quote(0, bidPrice="9", askPrice="10", bidSize=1, bidChange="1", bidSizeChange=3)
        take(view, Topic.QUOTES, first, quote(1, bidPrice=None, askSize=5))

        assert state(view).fields == {"ask_price": Decimal(10), "bid_size": 1, "ask_size": 5}

    def test_begins_anew_after_a_gap(self) -> None:
        """Nothing of an earlier record is kept; the state is complete."""
        view = MarketView()
        events = take(view, Topic.QUOTES, quote(0, bidPrice="9"), quote(3, after_gap=True, askPrice="10"))

        assert events == [
            Restarted(Topic.QUOTES, "AAPL", 7, 0, None),
            Restarted(Topic.QUOTES, "AAPL", 7, 3, 2),
        ]
        assert state(view).fields == {"ask_price": Decimal(10)}
        assert state(view).is_complete

    def test_ignores_redriven_records(self) -> None:
        """A record without a place in the sequence is an event of its own, whatever its session; no state has it."""
        view = MarketView()
        late = [quote(-1, session=session, after_gap=False, bidPrice="1") for session in (6, 7, 8)]
        take(view, Topic.QUOTES, quote(0, bidPrice="9"))
        assert [event for one in late for event in view.take(Topic.QUOTES, one, 0)] == [
            Redriven(Topic.QUOTES, "AAPL", one) for one in late
        ]
        assert take(view, Topic.QUOTES, quote(1, askPrice="10")) == []
        assert state(view).fields == {"bid_price": Decimal(9), "ask_price": Decimal(10)}
        assert (view.repeats, view.outdated) == (0, 0)

    def test_is_incomplete_until_a_record_after_a_gap(self) -> None:
        """Who joins late knows a symbol in part, until a record says that nothing before it counts."""
        view = MarketView()
        assert take(view, Topic.QUOTES, quote(5, bidPrice="9")) == []
        assert not state(view).is_complete
        take(view, Topic.QUOTES, quote(6, askPrice="10"))
        assert not state(view).is_complete
        take(view, Topic.QUOTES, quote(0, session=8, bidPrice="9.5"))
        assert state(view).is_complete

    @pytest.mark.parametrize("is_full", [True, None, False])
    def test_of_a_book_by_changes_is_incomplete_after_a_loss(self, is_full: bool | None) -> None:  # noqa: FBT001
        """Only the first message of a session has all rows, unless each has."""
        view = MarketView()
        messages = [(7, 0, True), (7, 2, False), (8, 0, True), (9, 3, False)]
        for session, seq, has_all in messages:
            book = record(Topic.L2, {"orderBook": ["9:1:"]}, session=session, seq=seq, after_gap=True, is_full=is_full)
            take(view, Topic.L2, book)
            assert state(view, Topic.L2).is_complete is (has_all or is_full is not False)

    def test_of_an_execution_is_the_execution(self) -> None:
        """Time and sales are not merged: a field that is not in an execution is not known of it."""
        view = MarketView()
        sales: list[dict[str, object]] = [{"price": "9", "size": 5}, {"price": "10"}]
        take(view, Topic.TIMESALES, *(record(Topic.TIMESALES, sale, seq=seq) for seq, sale in enumerate(sales)))

        assert state(view, Topic.TIMESALES).fields == {"price": Decimal(10)}

    def test_of_the_market_keeps_exchanges_that_are_not_in_a_message(self) -> None:
        """The maps of a market status are merged by their keys."""
        view = MarketView()
        messages: list[dict[str, object]] = [
            {"market": "open", "exchanges": {"nyse": "open", "otc": "open"}},
            {"exchanges": {"otc": "closed"}},
            {"market": "closed"},
        ]
        for seq, fields in enumerate(messages):
            take(view, Topic.MARKET_STATUS, record(Topic.MARKET_STATUS, fields, seq=seq))

        assert state(view, Topic.MARKET_STATUS).fields["market"] == "closed"
        assert state(view, Topic.MARKET_STATUS).fields["exchanges"] == {"nyse": "open", "otc": "closed"}

    def test_topics_and_symbols_are_independent(self) -> None:
        """A gap of one symbol on one topic says nothing about others."""
        view = MarketView()
        trade = record(Topic.TRADES, {"lastPrice": "9"})
        other = record(Topic.QUOTES, {"bidPrice": "1"}, symbol="MSFT")
        take(view, Topic.QUOTES, quote(0, bidPrice="9"), other)
        take(view, Topic.TRADES, trade)
        take(view, Topic.QUOTES, quote(2, after_gap=True, askPrice="10"))

        assert {one.symbol: one.fields.keys() for one in view.states("quotes")} == {
            "AAPL": {"ask_price"},
            "MSFT": {"bid_price"},
        }
        assert state(view, Topic.TRADES).fields == {"last_price": Decimal(9)}


class TestOrder:
    def test_repeats_are_dropped(self) -> None:
        """A stretch of records that comes again changes nothing, and is counted."""
        view = MarketView()
        records = [quote(seq, bidSize=seq + 1) for seq in range(3)]
        take(view, Topic.QUOTES, *records)

        assert [view.take(Topic.QUOTES, one, 0) for one in records[1:]] == [[], []]
        assert state(view).fields == {"bid_size": 3}
        assert (view.repeats, view.outdated) == (2, 0)

    def test_records_of_an_earlier_session_are_ignored(self) -> None:
        """After a later session nothing of an earlier one counts, whatever its seq; it is counted."""
        view = MarketView()
        take(view, Topic.QUOTES, quote(0, session=8, bidSize=1))

        assert take(view, Topic.QUOTES, quote(9, session=7, bidSize=2), quote(0, session=7, bidSize=2)) == []
        assert state(view).fields == {"bid_size": 1}
        assert (view.repeats, view.outdated) == (0, 2)

    def test_a_jump_of_quotes_is_a_merge(self) -> None:
        """Nothing of the state is missing."""
        view = MarketView()
        events = take(view, Topic.QUOTES, quote(0, bidSize=1), quote(4, askSize=2))

        assert events[1:] == [Merged(Topic.QUOTES, "AAPL", 7, 1, 3)]
        assert state(view).fields == {"bid_size": 1, "ask_size": 2}
        assert state(view).is_complete

    @pytest.mark.parametrize("topic", [Topic.TRADES, Topic.TIMESALES, Topic.L2])
    def test_a_jump_of_what_is_not_merged_was_missed(self, topic: Topic) -> None:
        """If the bridge does not say so, the consumer has not got the records: its state is incomplete."""
        fields: dict[str, Any] = {"price": "9", "lastPrice": "9", "orderBook": ["9:1:"]}
        view = MarketView()
        events = take(view, topic, record(topic, fields), record(topic, fields, seq=2))

        assert events[1:] == [Missed(topic, "AAPL", 7, 1, 1)]
        assert not state(view, topic).is_complete

    def test_a_session_whose_first_record_was_missed(self) -> None:
        """What was known is of an earlier session, and what comes is a part."""
        view = MarketView()
        events = take(view, Topic.QUOTES, quote(0, bidSize=1), quote(2, session=8, askSize=1))

        assert events[1:] == [Missed(Topic.QUOTES, "AAPL", 8, 0, 1)]
        assert state(view).fields == {"ask_size": 1}
        assert not state(view).is_complete

    def test_records_that_were_perhaps_missed(self) -> None:
        """Only the symbols that may be affected become incomplete, and only once, until their next gap."""
        view = MarketView()
        take(view, Topic.QUOTES, quote(0, bidSize=1), record(Topic.QUOTES, {"bidSize": 1}, symbol="MSFT"))

        assert view.miss("quotes", lambda symbol: symbol == "AAPL") == [Missed(Topic.QUOTES, "AAPL", 7, 1, None)]
        assert view.miss("quotes", lambda symbol: symbol == "AAPL") == []
        assert [one.is_complete for one in view.states("quotes")] == [False, True]
        take(view, Topic.QUOTES, quote(5, bidSize=2))
        assert not state(view).is_complete
        take(view, Topic.QUOTES, quote(6, bidSize=2, after_gap=True))
        assert state(view).is_complete

    def test_dead_letters_change_nothing(self) -> None:
        """They are no records of a symbol's state."""
        assert MarketView().take("dlq", {"symbol": "AAPL"}, 0) == []
