"""Tell whether a connection is alive: pings and their pongs, data and its absence.

Two kinds of ping go out together: the application's (the vendor asks for one every 30 to 60 s) and the WebSocket
protocol's (RFC 6455 section 5.5.2). That the application's is answered is documented for one dialect only, so its
silence counts as a fault where an answer is documented or was seen before; the protocol's pong is always due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.errors import Cause, ConnectionLost

if TYPE_CHECKING:
    from bridge.aries.events import JsonObject


class Timing(msgspec.Struct, frozen=True):
    """Hold the intervals of a session, in seconds; ``stale_after`` 0 = never stale."""

    ping_interval: float = 30.0
    pong_timeout: float = 10.0
    stale_after: float = 60.0


class Liveness:
    """Keep the times that a verdict needs."""

    def __init__(self, timing: Timing, *, pong_expected: bool, now: float) -> None:
        self.market_open: bool | None = None  # None: the server has not said
        self.last_heard = now
        self.first_data: float | None = None
        self.last_data: float | None = None
        self.pong_expected = pong_expected
        self._timing = timing
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
        self.last_heard = now

    def data(self, now: float) -> None:
        """Note that market data came in."""
        if self.first_data is None:
            self.first_data = now
        self.last_data = self._quiet_since = now
        self._probe_deadline = None

    def market(self, status: JsonObject, now: float) -> None:
        """Note the market's hours; silence counts from the moment it opens."""
        was_open = self.market_open
        self.market_open = _is_open(status, was_open)
        if self.market_open and not was_open:
            self._quiet_since = now
        if not self.market_open:
            self._probe_deadline = None

    def pong(self) -> None:
        """Note the answer to an application ping."""
        self._pong_seen = self.pong_expected = True

    def protocol_pong(self, now: float) -> None:
        """Note the answer to a WebSocket ping."""
        self.last_heard = now
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
        if self._probe_deadline is None and self._is_stale(now):
            self._probe_deadline = now + self._timing.pong_timeout
            return True
        return self._next_ping is not None and now >= self._next_ping and self._pinged_at is None

    def take_ping(self) -> bool:
        """Return whether a WebSocket ping is to be sent, once."""
        wanted, self._ping_wanted = self._ping_wanted, False
        return wanted

    def verdict(self, now: float) -> ConnectionLost | None:
        """Return why the connection has to be given up, if it has."""
        if self._probe_deadline is not None and now >= self._probe_deadline:
            return ConnectionLost(
                Cause.STALE,
                f"no data for {now - self._quiet_since:.1f} s though the market is open; a probe did not help",
            )
        if self._pinged_at is None or now < self._pinged_at + self._timing.pong_timeout:
            return None
        answered = self._protocol_pong_seen and (self._pong_seen or not self.pong_expected)
        alive_otherwise = not self.pong_expected and self.last_heard > self._pinged_at
        self._pinged_at = None
        if answered or alive_otherwise:
            return None
        return ConnectionLost(
            Cause.PONG_TIMEOUT, f"a ping stayed without an answer for {self._timing.pong_timeout:g} s"
        )

    @property
    def probing(self) -> bool:
        """Return whether a silent connection is being probed."""
        return self._probe_deadline is not None

    def _is_stale(self, now: float) -> bool:
        if not self._timing.stale_after or self.market_open is False:
            return False
        return now - self._quiet_since >= self._timing.stale_after


def _is_open(status: JsonObject, was_open: bool | None) -> bool | None:  # noqa: FBT001 - a state, not a switch
    """Return whether trading goes on, regular or extended; unchanged where the status does not say."""
    market = status.get("market")
    if status.get("afterHours") is True or status.get("earlyHours") is True:
        return True
    return market != "closed" if type(market) is str else was_open
