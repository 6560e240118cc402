"""The market data that one session gets: its subscriptions, and the updates that they select."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.simulator import faults
from bridge.simulator.data_kinds import IDENTIFYING_FIELDS, DataKind, prices_as_numbers
from bridge.simulator.line_counts import LineLabel
from bridge.simulator.send_queue import Outgoing, join_lines

if TYPE_CHECKING:
    from bridge.simulator.market import MarketEvent
    from bridge.simulator.queued_connection import QueuedConnection
    from bridge.simulator.requests import FieldSelection, Json, SymbolRequest
    from bridge.simulator.server_dialect import PriceStyle, ServerDialect
    from bridge.simulator.shared_state import SharedState

#: The kinds whose current state a new subscriber gets. Level 2 has no initial snapshot; an execution is an event.
_KINDS_WITH_STATE: Final = (DataKind.QUOTE, DataKind.TRADE, DataKind.GREEKS)
_RAW: Final = LineLabel("raw")


class MarketDataStream:
    """The subscriptions of one session, and the sender of the updates; updates are sent only while ``enabled``."""

    def __init__(
        self, connection: QueuedConnection, dialect: ServerDialect, state: SharedState, prices: PriceStyle
    ) -> None:
        self.enabled = False
        self.subscriptions: dict[str, dict[DataKind, FieldSelection]] = {}
        self._connection = connection
        self._dialect = dialect
        self._state = state
        self._prices = prices
        self._encode = msgspec.json.Encoder(decimal_format=prices).encode

    def subscribe(self, request: SymbolRequest) -> None:
        """Replace or extend the subscriptions of a symbol."""
        previous = {} if request.replaces else self.subscriptions.get(request.symbol, {})
        self.subscriptions[request.symbol] = {**previous, **request.kinds}

    def unsubscribe(self, symbol: str, kinds: frozenset[DataKind] | None) -> None:
        """End the subscriptions of a symbol: those of some kinds, or all (None)."""
        previous = self.subscriptions.pop(symbol, {})
        left = {kind: selection for kind, selection in previous.items() if kinds is not None and kind not in kinds}
        if left:
            self.subscriptions[symbol] = left

    def send_event(self, event: MarketEvent) -> bool:
        """Send an event if the client subscribed to it, and return whether it was queued."""
        line = self._event_line(event)
        return line is not None and self._connection.send_data(line)

    def send_current_state(self, request: SymbolRequest) -> None:
        """Send the current state of a symbol, one update for all kinds with the same update type."""
        now = self._state.clock()
        updates: dict[str, dict[DataKind, Json]] = {}
        for kind in _KINDS_WITH_STATE:
            selection = request.kinds.get(kind)
            if selection:
                fields = selection.apply(self._state.market.current_fields(request.symbol, kind, now))
                updates.setdefault(selection.update_type, {})[kind] = fields
        for update_type, by_kind in updates.items():
            kinds = tuple(kind for kind, fields in by_kind.items() if not fields.keys() <= IDENTIFYING_FIELDS)
            merged = {name: value for fields in by_kind.values() for name, value in fields.items()}
            if kinds and not self._is_frozen(request.symbol):
                self._connection.send_data(self._update(update_type, request.symbol, self._as_styled(merged), kinds))

    def send_line(self, line: bytes) -> bool:
        """Send any bytes as one line."""
        return self._connection.send_data(Outgoing(line, (_RAW,)))

    def send_frame(self, data: bytes) -> bool:
        """Send any bytes as one frame."""
        lines = sum(1 for line in data.split(b"\n") if line.strip())
        return self._connection.send_data(Outgoing(data, (_RAW,) * lines, whole_frame=True))

    def send_update(self, update_type: str, symbol: str, fields: Json) -> bool:
        """Send an update of any type with any fields, whether or not the client subscribed to it."""
        return self.send_line(self._encode(self._dialect.update(update_type, symbol, fields, self._state.clock())))

    def send_event_with_fields(self, extra: Json) -> None:
        """Send an event of the first subscription, with additional fields that the client did not select."""
        line = self._generated_line(extra)
        if line is not None:
            self._connection.send_data(line)

    def send_between_events(self, line: bytes) -> None:
        """Send a line in one frame between two events of the first subscription."""
        before, after = self._generated_line(), self._generated_line()
        lines = [item for item in (before, Outgoing(line, (_RAW,)), after) if item]
        self._connection.send_data(join_lines(lines, whole_frame=True))

    def _generated_line(self, extra: Json | None = None) -> Outgoing | None:
        """Generate an event of the first subscription; return None if there is none or the stream is disabled."""
        for symbol, kinds in self.subscriptions.items():
            for kind in kinds:
                return self._event_line(self._state.market.make_event(symbol, kind, self._state.clock()), extra)
        return None

    def _event_line(self, event: MarketEvent, extra: Json | None = None) -> Outgoing | None:
        selection = self.subscriptions.get(event.symbol, {}).get(event.kind)
        if selection is None or not self.enabled or self._is_frozen(event.symbol):
            return None
        only_changes = self._state.active_faults.find(faults.Partial)
        fields = selection.apply(event.changed if only_changes else event.fields)
        if fields.keys() <= IDENTIFYING_FIELDS:
            return None
        if event.prices_as_given:
            fields = self._as_styled(fields)
        if odd := self._state.active_faults.find(faults.OddValues):
            fields = {**fields, **{name: value for name, value in odd.fields.items() if name in fields}}
        return self._update(
            selection.update_type, event.symbol, {**fields, **extra} if extra else fields, (event.kind,)
        )

    def _is_frozen(self, symbol: str) -> bool:
        find = self._state.active_faults.find
        return find(faults.FreezeSymbol, lambda fault: fault.symbol == symbol) is not None

    def _update(self, update_type: str, symbol: str, fields: Json, kinds: tuple[DataKind, ...]) -> Outgoing:
        document = self._dialect.update(update_type, symbol, fields, self._state.clock())
        return Outgoing(self._encode(document), (_label(symbol, kinds),))

    def _as_styled(self, fields: Json) -> Json:
        """Convert prices given as strings to the price style; the encoder does the same for decimals."""
        return prices_as_numbers(fields) if self._prices == "number" else fields


@lru_cache(maxsize=65_536)
def _label(symbol: str, kinds: tuple[DataKind, ...]) -> LineLabel:
    line_type = kinds[0].value if len(kinds) == 1 else "composite"
    return LineLabel(line_type, tuple((kind, symbol) for kind in kinds))
