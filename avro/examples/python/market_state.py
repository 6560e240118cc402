"""The state of each symbol, by the rules of the contract (avro/README.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

Record = dict[str, Any]

SHOWN = {
    "quotes": ("bid_price", "bid_size", "bid_exchange", "ask_price", "ask_size", "ask_exchange"),
    "trades": ("last_price", "size", "net_change"),
    "timesales": ("price", "size", "trade_exchange"),
    "control": ("kind",),
}


#: Relative to the message before, so never to be kept (``net_change`` of a trade is another thing).
CHANGES = {"bid_change", "bid_size_change", "ask_change", "ask_size_change"}


class MarketState:
    """What is known of each symbol on each topic. It is in memory, so read the topics from their beginnings."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], tuple[int, int]] = {}
        self._states: dict[tuple[str, str], Record] = {}

    def apply(self, topic: str, key: str, record: Record) -> Record | None:
        """Return the state of a record's symbol after the record; None if it is a repeat, or of an older session."""
        kind = topic.rpartition(".")[2]
        if kind == "control":
            return record
        position = record["session_id"], record["seq"]
        if position <= self._newest.get((topic, key), (0, -1)):
            return None
        self._newest[topic, key] = position
        if kind == "timesales":  # an execution, not a state
            return record
        known = self._states.get((topic, key), {})
        state = _level2(known, record) if kind == "l2" else _merged(known, record)
        self._states[topic, key] = state
        return state


def shown(topic: str, key: str, state: Record, record: Record) -> str:
    """Return a line of JSON with the parts of a state that are of interest here."""
    kind = topic.rpartition(".")[2]
    line: Record = {"topic": topic, "key": key}
    if kind == "l2":
        line["book"] = {f"{price:f}": [row["bid_size"], row["ask_size"]] for price, row in state["book"].items()}
        columns = ("bid_price", "bid_size", "ask_price", "ask_size")
        line["quotes"] = {exchange: [row[name] for name in columns] for exchange, row in state["quotes"].items()}
    else:
        line |= {name: state.get(name) for name in SHOWN[kind]}
    if kind == "quotes":
        line["cleared"] = record["cleared"]
    return json.dumps(line, default=_decimal)


def _merged(known: Record, record: Record) -> Record:
    """Return the state from quotes, trades or greeks after one more record."""
    if record["after_gap"]:
        known = {}
    newer = {name: value for name, value in record.items() if value is not None and name not in CHANGES}
    return {**known, **newer, **dict.fromkeys(record["cleared"])}


def _level2(known: Record, record: Record) -> Record:
    """Return the rows of the book by price, and those of the exchanges, after one more record."""
    if record["after_gap"] or not known:
        known = {"book": {}, "quotes": {}}
    return {part: _rows(known[part], record, part, key) for part, key in (("book", "price"), ("quotes", "exchange"))}


def _rows(known: Record, record: Record, part: str, key: str) -> Record:
    if part in record["cleared"]:
        return {}
    rows = {row[key]: row for row in record[part]}
    if rows and record["is_full"] is not False:
        return rows
    return {at: row for at, row in {**known, **rows}.items() if row["bid_size"] or row["ask_size"]}


def _decimal(value: Decimal) -> str:
    return f"{value:f}"
