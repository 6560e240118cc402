"""What a server sends in both dialects, as in the protocol description, and a session to drive."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Protocol

from bridge.aries.client import MIN_TICK_SECONDS
from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.protocol.subscribing import GRACE_SECONDS
from bridge.aries.subscriptions import plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.protocol.dialect import Dialect
    from bridge.aries.protocol.session_events import SessionEvent
    from bridge.aries.subscriptions import Plan

CLOSED: dict[str, object] = {
    "afterHours": False,
    "earlyHours": False,
    "currencies": {"crypto": "open", "fx": "open"},
    "exchanges": {"nasdaq": "closed", "nyse": "closed", "otc": "closed"},
    "indicesGroups": {"dow_jones": "closed", "nasdaq": "open", "s_and_p": "open"},
    "market": "closed",
    "serverTime": "2025-07-17T03:33:11.000Z",
}
OPEN = {**CLOSED, "market": "open"}
TIMESTAMP = 1701450000123
#: More frames a second than any test sends, unless it is about their rate.
MANY_FRAMES = 10_000
#: Without pings and staleness, so that only what a test asks for is sent.
UNHURRIED = Timing(ping_interval_seconds=1e9, stale_after_seconds=0.0, max_frames_per_second=MANY_FRAMES)


def line(document: object) -> bytes:
    """Return a document as the server sends it."""
    return json.dumps(document, separators=(",", ":")).encode()


class Wire(Protocol):
    """The messages of a server in one dialect; a request is passed as it was received."""

    def dialect(self) -> Dialect:
        """Return the dialect under test."""

    def accepted(self, request: dict[str, object], expires_in_ms: int | None = None) -> bytes:
        """Return the acceptance of a token."""

    def rejected(self, request: dict[str, object], text: str = "authentication failed") -> bytes:
        """Return the rejection of a token."""

    def auth_event(self, action: str) -> bytes:
        """Return one of ``authRequired``, ``refreshAuth`` and ``authExpired``."""

    def ack(self, request: dict[str, object]) -> bytes:
        """Return the acknowledgement of a request for symbols."""

    def error(self, request: dict[str, object] | None, text: str) -> bytes:
        """Return the rejection of a request for symbols, or an error that names none."""

    def pong(self) -> bytes:
        """Return the answer to a ping."""

    def ping(self, request_id: object = None) -> bytes:
        """Return a ping of the server."""

    def quote(self, symbol: str) -> bytes:
        """Return a quote."""

    def status(self, status: dict[str, object]) -> bytes:
        """Return a market status."""


class EnvelopeWire:
    """The messages of the newer dialect."""

    def dialect(self) -> Dialect:
        return Envelope()

    def accepted(self, request: dict[str, object], expires_in_ms: int | None = None) -> bytes:
        data = {} if expires_in_ms is None else {"expiresIn": expires_in_ms}
        return self._event(action="authSuccess", id=request["id"], data=data)

    def rejected(self, request: dict[str, object], text: str = "authentication failed") -> bytes:
        return self.error(request, text)

    def auth_event(self, action: str) -> bytes:
        return self._event(action=action)

    def ack(self, request: dict[str, object]) -> bytes:
        return line({"type": "response", "id": request["id"], "payload": {"status": "success"}})

    def error(self, request: dict[str, object] | None, text: str) -> bytes:
        return self._event(action="error", error=text, **({} if request is None else {"id": request["id"]}))

    def pong(self) -> bytes:
        return line({"type": "pong", "id": "ping-1"})

    def ping(self, request_id: object = None) -> bytes:
        return line({"type": "ping"} | ({} if request_id is None else {"id": request_id}))

    def quote(self, symbol: str) -> bytes:
        return self._event(action="update", type="quote", data={"symbol": symbol, "bidPrice": 1.5})

    def status(self, status: dict[str, object]) -> bytes:
        return self._event(action="update", type="marketStatus", data=status)

    def _event(self, **payload: object) -> bytes:
        return line({"type": "event", "payload": {**payload, "timestamp": TIMESTAMP}})


class ActionWire:
    """The messages of the older dialect."""

    def dialect(self) -> Dialect:
        return Action()

    def accepted(self, request: dict[str, object], expires_in_ms: int | None = None) -> bytes:
        data = {} if expires_in_ms is None else {"data": {"expiresIn": expires_in_ms}}
        return line({"action": "auth", "message": "success", **data})

    def rejected(self, request: dict[str, object], text: str = "authentication failed") -> bytes:
        return line({"action": "auth", "message": text})

    def auth_event(self, action: str) -> bytes:
        return line({"action": action})

    def ack(self, request: dict[str, object]) -> bytes:
        return line({"action": request["action"], "message": "success"})

    def error(self, request: dict[str, object] | None, text: str) -> bytes:
        return line({"action": "error", "message": text})

    def pong(self) -> bytes:
        return line({"action": "ping", "message": "pong"})

    def ping(self, request_id: object = None) -> bytes:
        return line({"action": "ping"} | ({} if request_id is None else {"id": request_id}))

    def quote(self, symbol: str) -> bytes:
        return line({"type": "equityComposite", "data": {"symbol": symbol, "bidPrice": "1.50"}})

    def status(self, status: dict[str, object]) -> bytes:
        return line({"action": "publish", "type": "marketStatus", "data": status})


class SessionDriver:
    """A session under test, with its requests as JSON and a clock that the test sets."""

    def __init__(
        self,
        wire: Wire,
        *symbols: str,
        events: tuple[str, ...] = ("quotes", "trades"),
        described: str | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.wire = wire
        self.now = 1000.0
        self.plan: Plan = plan(symbols, events, described)
        self._frames: list[bytes] = []  # sent, and not returned yet
        self._due = -inf  # as the session said after its last tick
        self.session = Session(wire.dialect(), self.plan, timing or Timing(max_frames_per_second=MANY_FRAMES), self.now)

    def sent(self) -> list[dict[str, object]]:
        """Return the requests that the session sends."""
        frames, self._frames = [*self._frames, *self.session.take_outgoing(self.now)], []
        return [json.loads(frame) for frame in frames]

    def authenticate(self, token: str = "token", life_seconds: float | None = None) -> dict[str, object]:
        """Pass a token to the session; return its request."""
        self.session.authenticate(token, self.now, life_seconds)
        return next(one for one in self.sent() if "auth" in (one.get("action"), str(one.get("id")).partition("-")[0]))

    def receive(self, *frames: bytes) -> None:
        """Pass frames to the session."""
        for frame in frames:
            self.session.receive(frame, self.now)

    def wait(self, seconds: float) -> None:
        """Advance the clock as the client does, from tick to tick, and send what is due."""
        until = self.now + seconds
        while self.now < until:
            due = max(-inf if self.session.wants_tick else self._due, self.now + MIN_TICK_SECONDS)
            self.now = min(due, until)
            if due <= until:
                self.session.tick(self.now)
                self._frames += self.session.take_outgoing(self.now)
                self._due = self.session.next_tick

    def serve(
        self, requests: list[dict[str, object]], answer: Callable[[dict[str, object]], None]
    ) -> list[SessionEvent]:
        """Let requests be answered, and those that follow, until nothing happens any more; return the events."""
        found: list[SessionEvent] = []
        quiet_seconds = 0.0
        while quiet_seconds < GRACE_SECONDS + 1:
            for request in requests:
                answer(request)
            self.wait(0.3)
            requests, events = self.sent(), self.events()
            quiet_seconds = 0.0 if requests or events else quiet_seconds + 0.3
            found += events
        return found

    def events(self) -> list[SessionEvent]:
        """Return the session events since the last call."""
        return self.session.take_events()

    def start(self, expires_in_ms: int | None = None) -> list[dict[str, object]]:
        """Authenticate; return the subscribe requests."""
        self.receive(self.wire.accepted(self.authenticate(), expires_in_ms))
        return self.sent()

    def settle(self) -> None:
        """Authenticate, and acknowledge all subscribe requests."""
        self.receive(*(self.wire.ack(request) for request in self.start()))
        self.events()


def drive(wire: Wire, *symbols: str, events: tuple[str, ...] = ("quotes", "trades")) -> SessionDriver:
    """Return a session that sends no pings."""
    return SessionDriver(wire, *(symbols or ("AAPL", "MSFT")), events=events, timing=UNHURRIED)


def symbols_of(requests: list[dict[str, object]], method: str = "subscribe") -> list[str]:
    """Return the symbols in requests of this method, in their order."""
    matching = [one for one in requests if method in (one.get("type"), one.get("action"))]
    parts = [one["payload"] if isinstance(one.get("payload"), list) else one["data"] for one in matching]
    return [part["symbol"] for one in parts for part in one]  # type: ignore[attr-defined]  # a list
