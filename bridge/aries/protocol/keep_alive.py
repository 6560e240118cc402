"""Keep-alive: whether a connection is alive, judged by pings and their pongs, and by data and its absence.

Two kinds of ping are sent together: the application's (the vendor asks for one every 30 to 60 s) and the WebSocket
protocol's (RFC 6455 section 5.5.2). An answer to the former is documented for one dialect only, so a missing
one is a fault only if it is documented or was received before; the protocol's pong is required in addition. If no
answer is documented or was received, any frame after the ping counts as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.errors import ConnectionLost, DisconnectCause

if TYPE_CHECKING:
    from bridge.market_data import JsonObject

#: The only state of the market in which silence is expected; "open" and "extended-hours" were seen besides.
CLOSED = "closed"


class Timing(msgspec.Struct, frozen=True):
    """The keep-alive intervals of a session; with ``stale_after_seconds`` 0 a connection never counts as stale."""

    ping_interval_seconds: float = 30.0
    pong_timeout_seconds: float = 10.0
    stale_after_seconds: float = 60.0


class KeepAlive:
    """The keep-alive state of one connection."""

    def __init__(self, timing: Timing, *, pong_expected: bool, now: float) -> None:
        self.market_open: bool | None = None  # None: the server has not sent it, which counts as open
        self.data_expected = True  # False: no symbol is subscribed
        self.first_data: float | None = None
        self.last_data: float | None = None
        self.data_in_frames = False  # whether the frames that were received last had market data
        self._timing = timing
        self._pong_expected = pong_expected
        self._last_frame = now
        self._quiet_since = now
        self._next_ping: float | None = None
        self._pinged_at: float | None = None
        self._protocol_ping_due = self._pong_received = self._protocol_pong_received = False
        self._probe_deadline: float | None = None

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

    def market_status_received(self, status: JsonObject, now: float) -> None:
        """Note whether the market is open; silence counts from its opening."""
        was_open = self.market_open
        self.market_open = _is_open(status, was_open)
        if self.market_open and not was_open:
            self._quiet_since = now

    def pong_received(self) -> None:
        """Note the answer to an application ping."""
        self._pong_received = self._pong_expected = True

    def protocol_pong_received(self, now: float) -> None:
        """Note the answer to a WebSocket ping."""
        self._last_frame = now
        self._protocol_pong_received = True

    def ping_sent(self, now: float) -> None:
        """Note that an application ping is sent, and have a WebSocket ping sent with it."""
        self._pinged_at = now
        self._protocol_ping_due = True
        self._next_ping = now + self._timing.ping_interval_seconds
        self._pong_received = self._protocol_pong_received = False

    # -- what is due --------------------------------------------------------------------------------------------

    def ping_due(self, now: float) -> bool:
        """Return whether to send a ping: by the interval, or to probe a stale connection."""
        if not self._is_stale(now):
            self._probe_deadline = None
        elif self._probe_deadline is None:
            self._probe_deadline = now + self._timing.pong_timeout_seconds
            return True
        return self._next_ping is not None and now >= self._next_ping and self._pinged_at is None

    def take_protocol_ping(self) -> bool:
        """Return whether to send a WebSocket ping, once for each."""
        due, self._protocol_ping_due = self._protocol_ping_due, False
        return due

    def check(self, now: float) -> ConnectionLost | None:
        """Return why the connection counts as lost, if it does."""
        timing = self._timing
        if self._probe_deadline is not None and now >= self._probe_deadline:
            quiet_seconds = now - self._quiet_since
            return ConnectionLost(
                DisconnectCause.STALE,
                f"no data for {quiet_seconds:.1f} s although the market is not closed, nor after a ping",
            )
        if self._pinged_at is None:
            return None
        if self._is_answered(self._pinged_at):
            self._pinged_at = None
        elif now >= self._pinged_at + timing.pong_timeout_seconds:
            return ConnectionLost(
                DisconnectCause.PONG_TIMEOUT, f"a ping was not answered within {timing.pong_timeout_seconds:g} s"
            )
        return None

    def _is_answered(self, pinged_at: float) -> bool:
        if self._pong_expected:
            return self._pong_received and self._protocol_pong_received
        return self._protocol_pong_received or self._last_frame > pinged_at

    def _is_stale(self, now: float) -> bool:
        stale_after_seconds = self._timing.stale_after_seconds
        if not stale_after_seconds or not self.data_expected or self.market_open is False:
            return False
        return now - self._quiet_since >= stale_after_seconds


def _is_open(status: JsonObject, was_open: bool | None) -> bool | None:  # noqa: FBT001 - a state, not a switch
    """Return whether the market is open, in regular or extended hours; unchanged if the status does not say."""
    if status.get("afterHours") is True or status.get("earlyHours") is True:
        return True
    market = status.get("market")
    return market.lower() != CLOSED if type(market) is str else was_open
