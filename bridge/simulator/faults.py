"""All that a simulator can do wrong, one small type each; scripts name them in snake_case.

A *momentary* fault happens when it is injected, to the connections there are. A *lasting* one changes how the
simulator behaves: for ``for_seconds`` (in a script: ``for``) or so many ``times``, or until ``Heal``.
"""

# ruff: noqa: ARG002 - some faults concern the simulator and some its sessions, and all are injected alike

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from bridge.simulator.status import MarketState  # noqa: TC001 - msgspec resolves it when it reads a script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.simulator.server import Simulator
    from bridge.simulator.session import Session

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Times = Annotated[int, msgspec.Meta(ge=1)]
CloseCode = Annotated[int, msgspec.Meta(ge=1000, le=4999)]


class Fault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"for_seconds": "for", "by_seconds": "by", "warning_seconds": "warning", "size_bytes": "bytes"},
):
    """Be one thing that goes wrong."""

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Happen to a simulator, or to these of its sessions."""
        raise NotImplementedError


class Momentary(Fault, frozen=True, kw_only=True):
    """Happen once, to each of some sessions."""

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Happen to each session."""
        for session in sessions:
            self.strike(session)

    def strike(self, session: Session) -> None:
        """Happen to one session."""
        raise NotImplementedError


class Lasting(Fault, frozen=True, kw_only=True):
    """Change how the simulator behaves, for a time or a number of times."""

    for_seconds: Seconds | None = None
    times: Times | None = None

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Be kept in mind."""
        simulator.standing.add(self)


_BAD_FRAMES: Final = {
    "compressed": b"\xc1\x05hello",  # RSV1, though no extension was agreed upon
    "masked": b"\x81\x82\x00\x00\x00\x00{}",  # a server masks nothing
    "opcode": b"\x83\x00",  # 3 is reserved
    "long_ping": b"\x89\x7e\x00\x7e" + b"x" * 126,  # a control frame holds 125 bytes at most
}


# Authentication


class RefuseAuth(Lasting, frozen=True, kw_only=True):
    """Refuse authentication whatever the token; with ``close`` also end the connection."""

    error: str = "authentication failed"
    close: bool = False


class LateAuth(Lasting, frozen=True, kw_only=True):
    """Answer authentication late."""

    by_seconds: Seconds = 5


class IgnoreAuth(Lasting, frozen=True, kw_only=True):
    """Never answer authentication."""


class RefuseTokens(Fault, frozen=True, kw_only=True):
    """Take these tokens no more."""

    tokens: tuple[str, ...]

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Make the tokens bad."""
        simulator.tokens.refuse(*self.tokens)


class AcceptTokens(Fault, frozen=True, kw_only=True):
    """Take these tokens, and none that was not named."""

    tokens: tuple[str, ...]

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Make the tokens good."""
        simulator.tokens.accept(*self.tokens)


class Expire(Momentary, frozen=True, kw_only=True):
    """Warn that the session expires (``refreshAuth``), then end it (``authExpired``) unless it is renewed."""

    warning_seconds: Seconds = 0
    close: bool = True

    def strike(self, session: Session) -> None:
        """Start the session's last seconds."""
        session.expire(self.warning_seconds, close=self.close)


class ForgetAuth(Momentary, frozen=True, kw_only=True):
    """Forget that the client is authenticated and say ``authRequired``."""

    def strike(self, session: Session) -> None:
        """Take the session's rights away."""
        session.forget_auth()


class OneSession(Lasting, frozen=True, kw_only=True):
    """Allow one authenticated connection: a newer one evicts the older."""

    code: CloseCode = 1008
    reason: str = "session replaced by another connection"


class RepeatAuth(Lasting, frozen=True, kw_only=True):
    """Say twice that a token is accepted."""


# The connection


class Http(Lasting, frozen=True, kw_only=True):
    """Answer the handshake with an HTTP status; with ``path`` only for that path, with ``location`` a redirect."""

    status: Annotated[int, msgspec.Meta(ge=300, le=599)]
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | str | None = None
    location: str | None = None
    path: str | None = None
    body: str = ""


class SlowAccept(Lasting, frozen=True, kw_only=True):
    """Answer the handshake late."""

    by_seconds: Seconds = 5


class Drop(Momentary, frozen=True, kw_only=True):
    """End the TCP connection without a closing handshake; with ``reset`` by RST, losing what is under way."""

    reset: bool = False

    def strike(self, session: Session) -> None:
        """Abort the transport."""
        session.link.drop(reset=self.reset)


class Close(Momentary, frozen=True, kw_only=True):
    """Close the connection with a code and a reason, behind what is queued already."""

    code: CloseCode = 1011
    reason: str = ""

    def strike(self, session: Session) -> None:
        """Say farewell."""
        session.close(self.code, self.reason)


class CutShort(Lasting, frozen=True, kw_only=True):
    """Close each connection as soon as it has come so far; for a subscription that is behind the current state."""

    once: Literal["connected", "authenticated", "subscribed"] = "connected"
    code: CloseCode = 1011
    reason: str = ""


class NoClosingHandshake(Lasting, frozen=True, kw_only=True):
    """Never answer a client that wants to close."""


class Silence(Lasting, frozen=True, kw_only=True):
    """Keep the socket open and send nothing; with ``pongs`` false not even pongs, nor an answer to a close."""

    pongs: bool = True


class NoPongs(Lasting, frozen=True, kw_only=True):
    """Answer no pings: neither the protocol's nor the application's, unless one is excepted."""

    application: bool = True
    protocol: bool = True


# What is said


class NoAcks(Lasting, frozen=True, kw_only=True):
    """Acknowledge neither subscribe nor unsubscribe."""


class RefuseSymbol(Lasting, frozen=True, kw_only=True):
    """Refuse subscriptions of one symbol; the others of the request are taken."""

    symbol: str
    error: str = "unknown symbol"


class Partial(Lasting, frozen=True, kw_only=True):
    """Send only the fields that changed."""


class Garbage(Momentary, frozen=True, kw_only=True):
    """Send a line that is not JSON, in one frame between two good ones where the client follows something."""

    line: str = '{"type":"event","payload":{"action":"upd'

    def strike(self, session: Session) -> None:
        """Put the line between good ones."""
        session.send_between(self.line.encode())


class NotUtf8(Momentary, frozen=True, kw_only=True):
    """Send a text frame that is not UTF-8."""

    def strike(self, session: Session) -> None:
        """Send bytes that no UTF-8 text has."""
        session.send_frame(
            b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"\xff\xfe"}}}'
        )


class UnknownKind(Momentary, frozen=True, kw_only=True):
    """Send an update of a kind nobody knows, with fields nobody knows."""

    kind: str = "imbalance"
    symbol: str = "AAPL"
    fields: dict[str, object] = msgspec.field(default_factory=lambda: {"imbalanceSide": "buy"})

    def strike(self, session: Session) -> None:
        """Say it in the session's dialect."""
        session.send_unknown(self.kind, self.symbol, self.fields)


class UnknownField(Momentary, frozen=True, kw_only=True):
    """Send one market event with a field nobody knows."""

    name: str = "shinyNewField"
    value: object = 1

    def strike(self, session: Session) -> None:
        """Add the field to the next event."""
        session.send_extended({self.name: self.value})


class Fragmented(Lasting, frozen=True, kw_only=True):
    """Send each message as fragments of so many bytes."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1)] = 16


class Binary(Lasting, frozen=True, kw_only=True):
    """Send binary frames instead of text."""


class BadFrame(Momentary, frozen=True, kw_only=True):
    """Break the WebSocket protocol with one frame (RFC 6455, sections 5.1, 5.2 and 5.5)."""

    how: Literal["compressed", "masked", "opcode", "long_ping"] = "compressed"

    def strike(self, session: Session) -> None:
        """Write a frame that no client may accept."""
        session.link.write_bytes(_BAD_FRAMES[self.how])


class GiantFrame(Momentary, frozen=True, kw_only=True):
    """Send one frame, valid JSON, of so many bytes."""

    size_bytes: Annotated[int, msgspec.Meta(ge=200, le=256 * 2**20)] = 2 * 2**20

    def strike(self, session: Session) -> None:
        """Pad an unknown update to the size."""
        head, tail = b'{"type":"event","payload":{"action":"update","type":"padding","data":"', b'"}}'
        session.send_frame(head + b"x" * (self.size_bytes - len(head) - len(tail)) + tail)


# The market


class Burst(Fault, frozen=True, kw_only=True):
    """Make so many market events at once."""

    events: Times = 1000

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Let the market run."""
        simulator.burst(self.events)


class SetMarket(Fault, frozen=True, kw_only=True):
    """Open or close the market; while it is closed nothing happens by itself."""

    status: MarketState

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Change the state and tell everybody."""
        simulator.set_market(self.status)


class Heal(Fault, frozen=True, kw_only=True):
    """End all lasting faults."""

    def befall(self, simulator: Simulator, sessions: Sequence[Session]) -> None:
        """Forget them."""
        simulator.standing.clear()


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


#: Every fault by the name that scripts use.
FAULTS: Final = {
    _snake_case(fault.__name__): fault
    for fault in (
        AcceptTokens,
        BadFrame,
        Binary,
        Burst,
        Close,
        CutShort,
        Drop,
        Expire,
        ForgetAuth,
        Fragmented,
        Garbage,
        GiantFrame,
        Heal,
        Http,
        IgnoreAuth,
        LateAuth,
        NoAcks,
        NoClosingHandshake,
        NoPongs,
        NotUtf8,
        OneSession,
        Partial,
        RefuseAuth,
        RefuseSymbol,
        RefuseTokens,
        RepeatAuth,
        SetMarket,
        Silence,
        SlowAccept,
        UnknownField,
        UnknownKind,
    )
}


def fault_name(fault: Fault) -> str:
    """Return the name by which scripts know a fault."""
    return _snake_case(type(fault).__name__)
