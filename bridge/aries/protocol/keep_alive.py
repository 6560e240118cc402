"""Tell whether a connection is alive: pings and their pongs, data and its absence.

Two kinds of ping go out together: the application's (the vendor asks for one every 30 to 60 s) and the WebSocket
protocol's (RFC 6455 section 5.5.2). That the application's is answered is documented for one dialect only, so its
silence counts as a fault where an answer is documented or was seen before; the protocol's pong is due besides.
Where no answer is documented nor was seen, whatever else is heard after the ping will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.errors import ConnectionLost, DisconnectCause

if TYPE_CHECKING:
    from bridge.market_data import JsonObject

#: The one state of the market in which silence is no fault; others ("open", "extended-hours") were seen.
CLOSED = "closed"


class Timing(msgspec.Struct, frozen=True):
    """Hold the intervals of a session, in seconds; ``stale_after`` 0 = never stale."""

    ping_interval: float = 30.0
    pong_timeout: float = 10.0
    stale_after: float = 60.0


class KeepAlive:
    """Keep the times that a verdict needs."""

    def __init__(self, timing: Timing, *, pong_expected: bool, now: float) -> None:
        self.market_open: bool | None = None  # None: the server has not said, which counts as open
        self.data_expected = True  # False: nothing is subscribed to
        self.first_data: float | None = None
        self.last_data: float | None = None
        self._timing = timing
        self._pong_expected = pong_expected
        self._last_heard = now
        self._quiet_since = now
        self._next_ping: float | None = None
        self._pinged_at: float | None = None
        self._ping_wanted = self._pong_seen = self._protocol_pong_seen = False
        self._probe_deadline: float | None = None

    # -- what happens -------------------------------------------------------------------------------------------

    def live(self, now: float) -> None:
        """Start the clocks: the session is authenticated."""
        self._quiet_since = now
        self._next_ping = now + self._timing.ping_interval

    def heard(self, now: float) -> None:
        """Note that a frame came in, whatever it says."""
        self._last_heard = now

    def data(self, now: float) -> bool:
        """Note that market data came in; return whether it is the first."""
        self.last_data = self._quiet_since = now
        if self.first_data is not None:
            return False
        self.first_data = now
        return True

    def market(self, status: JsonObject, now: float) -> None:
        """Note the market's hours; silence counts from the moment it opens."""
        was_open = self.market_open
        self.market_open = _is_open(status, was_open)
        if self.market_open and not was_open:
            self._quiet_since = now

    def pong(self) -> None:
        """Note the answer to an application ping."""
        self._pong_seen = self._pong_expected = True

    def protocol_pong(self, now: float) -> None:
        """Note the answer to a WebSocket ping."""
        self._last_heard = now
        self._protocol_pong_seen = True

    def pinged(self, now: float) -> None:
        """Note that both pings go out now."""
        self._pinged_at = now
        self._ping_wanted = True
        self._next_ping = now + self._timing.ping_interval
        self._pong_seen = self._protocol_pong_seen = False

    # -- what follows -------------------------------------------------------------------------------------------

    def ping_due(self, now: float) -> bool:
        """Return whether to ping now: by the interval, or to probe a silent connection."""
        if not self._is_stale(now):
            self._probe_deadline = None
        elif self._probe_deadline is None:
            self._probe_deadline = now + self._timing.pong_timeout
            return True
        return self._next_ping is not None and now >= self._next_ping and self._pinged_at is None

    def take_ping(self) -> bool:
        """Return whether a WebSocket ping is to be sent, once."""
        wanted, self._ping_wanted = self._ping_wanted, False
        return wanted

    def check(self, now: float) -> ConnectionLost | None:
        """Return why the connection has to be given up, if it has."""
        if self._probe_deadline is not None and now >= self._probe_deadline:
            silent_seconds = now - self._quiet_since
            return ConnectionLost(
                DisconnectCause.STALE,
                f"no data for {silent_seconds:.1f} s though the market is not closed; a probe did not help",
            )
        if self._pinged_at is None:
            return None
        if self._is_answered(self._pinged_at):
            self._pinged_at = None
        elif now >= self._pinged_at + self._timing.pong_timeout:
            return ConnectionLost(
                DisconnectCause.PONG_TIMEOUT, f"a ping stayed without an answer for {self._timing.pong_timeout:g} s"
            )
        return None

    def _is_answered(self, pinged_at: float) -> bool:
        if self._pong_expected:
            return self._pong_seen and self._protocol_pong_seen
        return self._protocol_pong_seen or self._last_heard > pinged_at

    def _is_stale(self, now: float) -> bool:
        if not self._timing.stale_after or not self.data_expected or self.market_open is False:
            return False
        return now - self._quiet_since >= self._timing.stale_after


def _is_open(status: JsonObject, was_open: bool | None) -> bool | None:  # noqa: FBT001 - a state, not a switch
    """Return whether trading goes on, regular or extended; unchanged where the status does not say."""
    if status.get("afterHours") is True or status.get("earlyHours") is True:
        return True
    market = status.get("market")
    return market.lower() != CLOSED if type(market) is str else was_open
