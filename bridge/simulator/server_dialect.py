"""The interface of the two dialects, server side: parse requests, build messages."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from bridge.simulator.requests import Json, Request

DialectChoice = Literal["auto", "action", "envelope"]
#: The URL path of each dialect at the real servers.
PATHS: Final = {"action": "/v1/marketdata/ws", "envelope": "/v1/market/ws"}
#: Whether prices are sent as JSON strings or JSON numbers.
PriceStyle = Literal["string", "number"]


class AuthNotice(StrEnum):
    """An unrequested message about the session's authentication."""

    REQUIRED = "authRequired"
    REFRESH = "refreshAuth"
    EXPIRED = "authExpired"


class ServerDialect(Protocol):
    """One dialect, server side. Each method but ``parse_request`` returns the JSON document to send."""

    @property
    def name(self) -> str:
        """Return the dialect's name in settings and options."""

    @property
    def prices(self) -> PriceStyle:
        """Return the default price style."""

    def parse_request(self, document: object) -> Request:
        """Parse one JSON document from a client."""

    def auth_accepted(self, request_id: str | None, expires_in_seconds: float, now_ms: int) -> Json:
        """Accept an authentication."""

    def auth_rejected(self, request_id: str | None, error: str, now_ms: int) -> Json:
        """Reject an authentication."""

    def auth_notice(self, notice: AuthNotice, now_ms: int) -> Json:
        """Announce that authentication is required, about to expire, or expired."""

    def ack(self, action: str, request_id: str | None) -> Json:
        """Acknowledge a subscribe or unsubscribe request."""

    def error(self, action: str, error: str, request_id: str | None, now_ms: int) -> Json:
        """Reject a request."""

    def pong(self, request_id: str | None) -> Json:
        """Answer a ping."""

    def ping(self, request_id: object) -> Json:
        """Send a ping to the client."""

    def market_status(self, status: Json, now_ms: int) -> Json:
        """Send the state of the market."""

    def update(self, update_type: str, symbol: str, fields: Json, now_ms: int) -> Json:
        """Send market data of a symbol."""
