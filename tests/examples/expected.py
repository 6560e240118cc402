"""What every example that builds the state must print for the scene."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.examples.example import Line
    from tests.examples.scene import Scene

_BID = {"bid_price": "212.500000001", "bid_exchange": "NSDQ"}
_ASK = {"ask_price": "212.750000000", "ask_size": 3, "ask_exchange": "ARCX"}
_NO_ASK = {"ask_price": None, "ask_size": None, "ask_exchange": None}
QUOTES = [
    {**_BID, "bid_size": 7, **_ASK},
    {**_BID, "bid_size": 9, **_ASK},
    {**_BID, "bid_size": 9, **_NO_ASK},
]
#: The second has no change against the previous close: it is the one from before.
TRADES = [
    {"last_price": "212.500000001", "size": "0.083000", "net_change": "-1.250000000"},
    {"last_price": "212.500000000", "size": "100.000000", "net_change": "-1.250000000"},
]
EXECUTION = {"price": "212.500000001", "size": "0.083000", "trade_exchange": "NSDQ"}
#: The first replaces the rows from before the gap; the second removes one row and adds another; the third clears.
_EXCHANGES = {"ARCX": ["212.500000000", 9, "212.750000000", 3]}
_BIDS = {"212.500000001": [9, 0], "212.250000000": [400, None]}
BOOKS = [
    {"book": {"212.750000000": [None, 3], **_BIDS}, "quotes": _EXCHANGES},
    {"book": {"212.800000000": [None, 5], **_BIDS}, "quotes": _EXCHANGES},
    {"book": {"212.800000000": [None, 5], **_BIDS}, "quotes": {}},
]
STARTED = ["SESSION_STARTED", "SUBSCRIBED", "GAP", "SESSION_STARTED"]


def assert_state(printed: Iterable[Line], scene: Scene, prefix: str) -> None:
    """Assert the state of AAPL after the gap, record by record, and the whole book of MSFT at the end."""
    found = _by_topic_and_symbol(printed, prefix)
    assert [_without(line, "cleared") for line in found[Topic.QUOTES, "AAPL"][-3:]] == QUOTES
    assert found[Topic.QUOTES, "AAPL"][-1]["cleared"] == ["ask_price", "ask_size", "ask_exchange"]
    assert found[Topic.TRADES, "AAPL"][-2:] == TRADES
    assert found[Topic.TIMESALES, "AAPL"][-1:] == [EXECUTION]
    assert found[Topic.L2, "AAPL"][-3:] == BOOKS
    assert found[Topic.L2, "MSFT"][-1:] == [{"book": scene.book, "quotes": scene.exchanges}]
    kinds = [line["kind"] for line in found[Topic.CONTROL, "test-bridge"] if line["kind"] != "HEARTBEAT"]
    assert kinds[:4] == STARTED
    assert sorted(kinds[4:6]) == ["RESUMED", "SUBSCRIBED"]  # data may come before the last acknowledgement
    assert kinds[6:] == ["SESSION_COMPLETED"]


def _by_topic_and_symbol(printed: Iterable[Line], prefix: str) -> dict[tuple[Topic, str], list[Line]]:
    found: dict[tuple[Topic, str], list[Line]] = defaultdict(list)
    for line in printed:
        rest: dict[str, Any] = _without(line, "topic", "key")
        found[Topic(line["topic"].removeprefix(f"{prefix}.")), line["key"]].append(rest)
    return found


def _without(line: Line, *names: str) -> Line:
    return {name: value for name, value in line.items() if name not in names}
