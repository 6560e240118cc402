"""The market as the records show it: records in, events out; it reads no clock and waits for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.consumer.bridges import Bridges
from bridge.consumer.events import Event, Merged, Missed, Redriven, Restarted, Updated
from bridge.consumer.symbol_state import SymbolState
from bridge.pipeline.routing import CONFLATED
from bridge.topics import MARKET_DATA, NOT_PLACED, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.serialization.schemas import AvroRecord


class MarketView:
    """The states of all symbols, from records in the order in which each partition has them.

    Repeats, and records of a session after those of a later one, change nothing; they are counted in ``repeats`` and
    ``outdated``. The last records of a bridge that has lost a shard may be such records of an earlier session.
    """

    def __init__(self) -> None:
        self.repeats = 0
        self.outdated = 0
        self._states: dict[Topic, dict[str, SymbolState]] = {topic: {} for topic in MARKET_DATA}
        self._bridges = Bridges()

    def state(self, topic: Topic | str, symbol: str) -> SymbolState | None:
        """Return the state of a symbol on a topic; None if there was no record of it."""
        return self._states[Topic(topic)].get(symbol)

    def states(self, topic: Topic | str) -> Iterable[SymbolState]:
        """Return the states of all symbols on a topic."""
        return self._states[Topic(topic)].values()

    def is_stale(self, state: SymbolState) -> bool:
        """Return whether the state is out of date.

        Its connection is lost, its bridge has ended, is silent or has handed the symbol's shard over.
        """
        return self._bridges.is_stale(state.session_id, state.symbol)

    def take(self, topic: Topic | str, record: AvroRecord, now_us: int) -> list[Event]:
        """Take a record of a topic (``quotes``, ``control`` …), and return what it means.

        ``now_us`` is the time of any clock that is also given to ``tick``.
        """
        topic = Topic(topic)
        if topic is Topic.CONTROL:
            return self._bridges.take(record, now_us)
        return self._take_market(topic, record) if topic in MARKET_DATA else []

    def miss(self, topic: Topic | str, might_be: Callable[[str], bool]) -> list[Event]:
        """Note that records of these symbols were perhaps missed: the jump that shows it may look like a merge."""
        affected = [state for state in self.states(topic) if state.is_complete and might_be(state.symbol)]
        for state in affected:
            state.is_complete = False
        return [Missed(state.topic, state.symbol, state.session_id, state.seq + 1, None) for state in affected]

    def tick(self, now_us: int) -> list[Event]:
        """Return which bridges are silent by now; to be called every few seconds, after taking what has arrived."""
        return self._bridges.tick(now_us)

    def _take_market(self, topic: Topic, record: AvroRecord) -> list[Event]:
        fields: dict[str, Any] = record
        symbol, position = fields["symbol"], (fields["session_id"], fields["seq"])
        if position[1] == NOT_PLACED:
            return [Redriven(topic, symbol, record)]
        state = self._states[topic].get(symbol)
        if state is None:
            state = self._states[topic][symbol] = SymbolState(topic, symbol)
        if position[0] < state.session_id:
            self.outdated += 1
            return []
        if position <= (state.session_id, state.seq):
            self.repeats += 1
            return []
        jump = _jump(state, fields)
        state.apply(record)
        if isinstance(jump, Missed):
            state.is_complete = False
        return [*([jump] if jump else []), Updated(topic, symbol, record, state)]


def _jump(state: SymbolState, record: dict[str, Any]) -> Restarted | Merged | Missed | None:
    """Return what lies between a state and its next record, if that is not simply the next one."""
    topic, symbol, session_id, seq = state.topic, state.symbol, record["session_id"], record["seq"]
    is_same = session_id == state.session_id
    first = state.seq + 1 if is_same else 0
    if record["after_gap"]:
        return Restarted(topic, symbol, session_id, seq, seq - first if is_same else None)
    if state.seq < 0 or (is_same and seq == first):
        return None
    # The first record of a session has after_gap: without, it was missed.
    kind = Merged if is_same and topic in CONFLATED else Missed
    return kind(topic, symbol, session_id, first, seq - 1)
