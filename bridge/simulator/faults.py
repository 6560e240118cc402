"""The faults of a simulator as data: what can go wrong, with its parameters; ``fault_injection`` applies them.

Scripts name a fault in snake_case, such as ``{"at": 5, "fault": "giant_frame", "bytes": 3000000}``.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from bridge.simulator.market_status import MarketState  # noqa: TC001 - msgspec resolves it when it reads a script

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Times = Annotated[int, msgspec.Meta(ge=1)]
CloseCode = Annotated[int, msgspec.Meta(ge=1000, le=4999)]
BadFrameType = Literal["compressed", "masked", "opcode", "long_ping"]


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Fault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={
        "for_seconds": "for",
        "delay_seconds": "by",
        "warning_seconds": "warning",
        "size_bytes": "bytes",
        "stage": "once",
    },
):
    """A failure or oddity of the server, with its parameters."""

    @property
    def script_name(self) -> str:
        """Return the name of the fault in scripts."""
        return _snake_case(type(self).__name__)


class ServerFault(Fault, frozen=True, kw_only=True):
    """A fault that happens once, in the server as a whole."""


class SessionFault(Fault, frozen=True, kw_only=True):
    """A fault that happens once, in each of the selected sessions."""


class LastingFault(Fault, frozen=True, kw_only=True):
    """A fault that changes the server's behaviour for ``for_seconds``, for a number of ``times``, or until ``Heal``."""

    for_seconds: Seconds | None = None
    times: Times | None = None


# Authentication


class RefuseAuth(LastingFault, frozen=True, kw_only=True):
    """Rejection of authentication whatever the token; with ``close`` the connection is closed, too."""

    error: str = "authentication failed"
    close: bool = False


class LateAuth(LastingFault, frozen=True, kw_only=True):
    """A delayed response to authentication."""

    delay_seconds: Seconds = 5


class IgnoreAuth(LastingFault, frozen=True, kw_only=True):
    """No response to authentication."""


class RefuseTokens(ServerFault, frozen=True, kw_only=True):
    """Rejection of these tokens from now on."""

    tokens: tuple[str, ...]


class AcceptTokens(ServerFault, frozen=True, kw_only=True):
    """Acceptance of these tokens, and of no token that was not named."""

    tokens: tuple[str, ...]


class Expire(SessionFault, frozen=True, kw_only=True):
    """A warning (``refreshAuth``), then the end of the session (``authExpired``) unless the client re-authenticates."""

    warning_seconds: Seconds = 0
    close: bool = True


class ForgetAuth(SessionFault, frozen=True, kw_only=True):
    """Loss of the client's authentication, announced by ``authRequired``."""


class OneSession(LastingFault, frozen=True, kw_only=True):
    """A limit of one authenticated session: a newer session evicts the older one."""

    code: CloseCode = 1008
    reason: str = "session replaced by another connection"


class RepeatAuth(LastingFault, frozen=True, kw_only=True):
    """A duplicate response to a successful authentication."""


# The connection


class Http(LastingFault, frozen=True, kw_only=True):
    """An HTTP status in response to the handshake; with ``path`` only for that path, with ``location`` a redirect."""

    status: Annotated[int, msgspec.Meta(ge=300, le=599)]
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | str | None = None
    location: str | None = None
    path: str | None = None
    body: str = ""


class SlowAccept(LastingFault, frozen=True, kw_only=True):
    """A delayed response to the handshake."""

    delay_seconds: Seconds = 5


class Drop(SessionFault, frozen=True, kw_only=True):
    """The end of TCP without a closing handshake; with ``reset`` by RST, which loses data in flight."""

    reset: bool = False


class Close(SessionFault, frozen=True, kw_only=True):
    """A closing handshake with a code and a reason, after the data that is already queued."""

    code: CloseCode = 1011
    reason: str = ""


class CutShort(LastingFault, frozen=True, kw_only=True):
    """The close of each connection once it reaches a stage; ``subscribed`` is after the current state was sent."""

    stage: Literal["connected", "authenticated", "subscribed"] = "connected"
    code: CloseCode = 1011
    reason: str = ""


class NoClosingHandshake(LastingFault, frozen=True, kw_only=True):
    """No response to a client's close frame."""


class Silence(LastingFault, frozen=True, kw_only=True):
    """An open socket on which nothing is sent; without ``pongs`` not even pongs and close frames."""

    pongs: bool = True


class NoPongs(LastingFault, frozen=True, kw_only=True):
    """No response to pings of the application, of the WebSocket protocol, or both."""

    application: bool = True
    protocol: bool = True


class ServerPing(SessionFault, frozen=True, kw_only=True):
    """So many application pings of the server, each with an id, which the client is to answer."""

    id: str | int | None = None
    count: Times = 1


# Messages and frames


class NoAcks(LastingFault, frozen=True, kw_only=True):
    """No acknowledgement of subscribe and unsubscribe requests."""


class SymbolLimit(LastingFault, frozen=True, kw_only=True):
    """Rejection of requests that exceed a number of symbols; without ``whole`` as many as possible are subscribed."""

    symbols: Annotated[int, msgspec.Meta(ge=0)]
    error: str = "maximum number of symbols exceeded"
    whole: bool = True


class FrameLimit(LastingFault, frozen=True, kw_only=True):
    """The close of a connection on which a client sends more frames in a second."""

    frames: Times
    code: CloseCode = 1008
    reason: str = "rate limit exceeded"


class RefuseSymbol(LastingFault, frozen=True, kw_only=True):
    """Rejection of subscriptions of one symbol; the other symbols of the request are subscribed."""

    symbol: str
    error: str = "unknown symbol"


class FreezeSymbol(LastingFault, frozen=True, kw_only=True):
    """No data of one symbol, on a connection that is fine for all others."""

    symbol: str


class Partial(LastingFault, frozen=True, kw_only=True):
    """Updates with only the fields that changed."""


class OddValues(LastingFault, frozen=True, kw_only=True):
    """Other values in the generated updates that have these fields, such as null, ``"N/A"`` or ``-1``."""

    fields: dict[str, object] = msgspec.field(
        default_factory=lambda: {"bidPrice": None, "askPrice": "N/A", "askSize": 0.5, "lastPrice": -1, "delta": "NaN"}
    )


class Garbage(SessionFault, frozen=True, kw_only=True):
    """A line that is not JSON, in one frame with valid lines before and after it if the client has a subscription."""

    line: str = '{"type":"event","payload":{"action":"upd'


class NotUtf8(SessionFault, frozen=True, kw_only=True):
    """A text frame that is not UTF-8."""


class UnknownKind(SessionFault, frozen=True, kw_only=True):
    """An update of an unknown kind, with unknown fields."""

    kind: str = "imbalance"
    symbol: str = "AAPL"
    fields: dict[str, object] = msgspec.field(default_factory=lambda: {"imbalanceSide": "buy"})


class UnknownField(SessionFault, frozen=True, kw_only=True):
    """A market event with an unknown field."""

    name: str = "shinyNewField"
    value: object = 1


class Fragmented(LastingFault, frozen=True, kw_only=True):
    """Messages split into fragments of ``size_bytes``."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1)] = 16


class Arrays(LastingFault, frozen=True, kw_only=True):
    """Frames that are a JSON array of the messages, instead of lines."""


class Binary(LastingFault, frozen=True, kw_only=True):
    """Binary frames instead of text frames."""


class BadFrame(SessionFault, frozen=True, kw_only=True):
    """A frame that violates the WebSocket protocol (RFC 6455, sections 5.1, 5.2 and 5.5)."""

    how: BadFrameType = "compressed"


class GiantFrame(SessionFault, frozen=True, kw_only=True):
    """A frame of ``size_bytes``, with valid JSON."""

    size_bytes: Annotated[int, msgspec.Meta(ge=200, le=256 * 2**20)] = 2 * 2**20


# The market


class Burst(ServerFault, frozen=True, kw_only=True):
    """Many market events at once."""

    events: Times = 1000


class SetMarket(ServerFault, frozen=True, kw_only=True):
    """A change of the market's state; while it is closed, no market events are generated."""

    status: MarketState


class Heal(ServerFault, frozen=True, kw_only=True):
    """The end of all lasting faults."""


#: Every fault by its name in scripts.
FAULTS: Final[dict[str, type[Fault]]] = {
    _snake_case(fault.__name__): fault
    for category in (ServerFault, SessionFault, LastingFault)
    for fault in category.__subclasses__()
}
