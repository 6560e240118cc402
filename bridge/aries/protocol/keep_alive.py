"""Keep-alive: whether a connection is alive, judged by pings and their pongs, and by data and its absence.

Two kinds of ping are sent together: the application's (the vendor asks for one every 30 to 60 s) and the WebSocket
protocol's (RFC 6455 section 5.5.2). An answer to the former is documented for one dialect only, so a missing
one is a fault only if it is documented or was received before; the protocol's pong is required in addition. If no
answer is documented or was received, any frame after the ping counts as one. Data after the ping proves the same as
an answer, so a missing one is then only reported.

Data is expected of equities unless the market is closed, of options and indices in regular hours only. If it is
missing, a ping is sent; if that is answered, ``bridge.aries.protocol.silence`` says what to do.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.aries.protocol.session_events import DataMissing, PongMissing
from bridge.aries.protocol.silence import SilencePolicy, SilenceStep
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import ConnectionLost, DisconnectCause

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.market_data import JsonObject

#: How often the answer to a ping is looked for.
ANSWER_CHECK_SECONDS: Final = 0.1


class MarketHours(StrEnum):
    """The hours of the market, as far as the server has sent them."""

    UNKNOWN = "unknown"
    CLOSED = "closed"
    EXTENDED = "extended"  # before or after the regular hours, or a state that is not known
    REGULAR = "regular"


#: States of the market that say which hours these are; "extended-hours" was seen besides.
_STATES: Final = {"open": MarketHours.REGULAR, "closed": MarketHours.CLOSED}
#: Types of symbols of which data is expected.
_EXPECTED: Final = {
    MarketHours.UNKNOWN: frozenset({SymbolType.EQUITY}),
    MarketHours.CLOSED: frozenset[SymbolType](),
    MarketHours.EXTENDED: frozenset({SymbolType.EQUITY}),
    MarketHours.REGULAR: frozenset(SymbolType),
}


class Timing(msgspec.Struct, frozen=True):
    """The intervals and the rate of a session; with ``stale_after_seconds`` 0 a connection never counts as stale."""

    ping_interval_seconds: float = 30.0
    pong_timeout_seconds: float = 10.0
    stale_after_seconds: float = 60.0
    max_frames_per_second: int = 20


class KeepAlive:
    """The keep-alive state of one connection."""

    def __init__(
        self, timing: Timing, *, pong_expected: bool, now: float, silence: SilencePolicy | None = None
    ) -> None:
        self.hours = MarketHours.UNKNOWN
        self.first_data: float | None = None
        self.last_data: float | None = None
        self.data_in_frames = False  # whether the frames that were received last had market data
        self._timing = timing
        self._pong_expected = pong_expected
        self._last_frame = now
        self._quiet_since = now
        self._next_ping: float | None = None
        self._pinged_at: float | None = None
        self._checked_at = now
        self.protocol_ping_due = self._pong_received = self._protocol_pong_received = False
        self._pong_missing = False  # as was reported
        self._silence = silence or SilencePolicy(timing.stale_after_seconds)
        self._probed = False  # a ping was sent because data is missing
        self._symbol_types: Collection[SymbolType] = ()

    @property
    def market_open(self) -> bool | None:
        """Return whether the market is open, extended hours included; None if the server has not sent it."""
        return None if self.hours is MarketHours.UNKNOWN else self.hours is not MarketHours.CLOSED

    @property
    def in_regular_hours(self) -> bool | None:
        """Return whether every symbol is traded now; None if the server has not sent the hours of the market."""
        return None if self.hours is MarketHours.UNKNOWN else self.hours is MarketHours.REGULAR

    @property
    def data_expected(self) -> bool:
        """Return whether data of a subscribed symbol is expected at these hours."""
        return not _EXPECTED[self.hours].isdisjoint(self._symbol_types)

    # -- what happened ------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Start the intervals, as the session is authenticated."""
        self._quiet_since = now
        self._next_ping = now + self._timing.ping_interval_seconds

    def frame_received(self, now: float) -> None:
        """Note that frames were received, whatever is in them."""
        self._last_frame = now
        self.data_in_frames = False

    def data_received(self, now: float) -> bool:
        """Note that market data was received; return whether it is the first."""
        self.last_data = self._quiet_since = now
        self.data_in_frames = True
        if self.first_data is not None:
            return False
        self.first_data = now
        return True

    def subscribed(self, symbol_types: Collection[SymbolType], now: float) -> None:
        """Note the types of the symbols that are subscribed."""
        self._expect(self.hours, symbol_types, now)

    def market_status_received(self, status: JsonObject, now: float) -> None:
        """Note the hours of the market."""
        self._expect(_hours(status, self.hours), self._symbol_types, now)

    def _expect(self, hours: MarketHours, symbol_types: Collection[SymbolType], now: float) -> None:
        """Count silence from when data began to be expected."""
        before = self.data_expected
        self.hours, self._symbol_types = hours, symbol_types
        if self.data_expected and not before:
            self._quiet_since = now

    def pong_received(self) -> None:
        """Note the answer to an application ping."""
        self._pong_received = self._pong_expected = True

    def ping_received(self) -> None:
        """Note a ping of the server: it proves the same as an answer, but not that the server answers pings."""
        self._pong_received = True

    def protocol_pong_received(self, now: float) -> None:
        """Note the answer to a WebSocket ping."""
        self._last_frame = now
        self._protocol_pong_received = True

    def ping_sent(self, now: float) -> None:
        """Note that an application ping is sent, and have a WebSocket ping sent with it."""
        self._pinged_at = now
        self.protocol_ping_due = True
        self._next_ping = now + self._timing.ping_interval_seconds
        self._pong_received = self._protocol_pong_received = False

    # -- what is due --------------------------------------------------------------------------------------------

    def ping_due(self, now: float) -> bool:
        """Return whether to send a ping: by the interval, or because data is missing."""
        if self._next_ping is None or self._pinged_at is not None:
            return False
        if not self._is_data_missing(now):
            self._probed = False
        elif not self._probed:
            self._probed = True
            return True
        return now >= self._next_ping

    @property
    def next_tick(self) -> float:
        """Return when ``ping_due`` and ``check`` are to be asked again, unless more is expected of the server before.

        Once a ping is sent, anything may answer it, so that its answer is looked for at short intervals.
        """
        if self._next_ping is None:
            return inf
        if self._pinged_at is not None:
            return self._checked_at + ANSWER_CHECK_SECONDS
        if not self.data_expected:
            return self._next_ping
        return min(self._next_ping, self._silence.next_tick(self._quiet_since))

    def take_protocol_ping(self) -> bool:
        """Return whether to send a WebSocket ping, once for each."""
        due, self.protocol_ping_due = self.protocol_ping_due, False
        return due

    def check(self, now: float) -> ConnectionLost | PongMissing | DataMissing | None:
        """Return why the connection counts as lost, if it does, or what is missing."""
        self._checked_at = now
        found = None if self._pinged_at is None else self._check_pong(self._pinged_at, now)
        if found is not None or self._pinged_at is not None or not self._probed:
            return found
        return self._check_data(now)

    def _check_pong(self, pinged_at: float, now: float) -> ConnectionLost | PongMissing | None:
        timeout_seconds = self._timing.pong_timeout_seconds
        if self._is_answered(pinged_at):
            self._pinged_at = None
            self._pong_missing = False
            return None
        if now < pinged_at + timeout_seconds:
            return None
        if self.last_data is None or self.last_data <= pinged_at:
            return ConnectionLost(
                DisconnectCause.PONG_TIMEOUT,
                f"a ping was not answered within {timeout_seconds:g} s, nor was data received",
            )
        self._pinged_at = None
        reported, self._pong_missing = self._pong_missing, True
        return None if reported else PongMissing(timeout_seconds)

    def _check_data(self, now: float) -> ConnectionLost | DataMissing | None:
        """Take the next step, as a ping was answered after data was missed."""
        self._probed = False
        if not self._is_data_missing(now):
            return None
        quiet_seconds = now - self._quiet_since
        if self._silence.take_step(self._quiet_since, now) is SilenceStep.SUBSCRIBE_AGAIN:
            return DataMissing(quiet_seconds)
        return ConnectionLost(
            DisconnectCause.STALE,
            f"no data for {quiet_seconds:.1f} s although the market is not closed and pings are answered, nor after "
            "subscribing again",
        )

    def _is_answered(self, pinged_at: float) -> bool:
        if self._pong_expected:
            return self._pong_received and self._protocol_pong_received
        return self._protocol_pong_received or self._last_frame > pinged_at

    def _is_data_missing(self, now: float) -> bool:
        return self.data_expected and self._silence.is_due(self._quiet_since, now)


def _hours(status: JsonObject, before: MarketHours) -> MarketHours:
    """Return the hours by a market status; those before if it does not say."""
    if status.get("afterHours") is True or status.get("earlyHours") is True:
        return MarketHours.EXTENDED
    market = status.get("market")
    return _STATES.get(market.lower(), MarketHours.EXTENDED) if type(market) is str else before
