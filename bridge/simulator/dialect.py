"""What both dialects can do: read a client's request, and say what the server has to say."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from bridge.simulator.requests import Json, Request

#: How prices travel.
PriceStyle = Literal["string", "number"]


class AuthWord(StrEnum):
    """Name what the server says about a session by itself."""

    REQUIRED = "authRequired"
    REFRESH = "refreshAuth"
    EXPIRED = "authExpired"


class Dialect(Protocol):
    """Speak one dialect, server side. What returns None is not said in this dialect as it is set."""

    @property
    def name(self) -> str:
        """Return the name by which settings know the dialect."""

    @property
    def prices(self) -> PriceStyle:
        """Return how prices travel unless the simulator is told otherwise."""

    def read(self, document: object) -> Request:
        """Make a request of one JSON document."""

    def auth_accepted(self, request_id: str | None, expires_in_seconds: float, now_ms: int) -> Json:
        """Say that the session is authenticated."""

    def auth_refused(self, request_id: str | None, error: str, now_ms: int) -> Json:
        """Say that it is not."""

    def auth_word(self, word: AuthWord, now_ms: int) -> Json:
        """Say something about the session unasked."""

    def ack(self, action: str, request_id: str | None) -> Json | None:
        """Say that a request was accepted."""

    def error(self, action: str, error: str, request_id: str | None, now_ms: int) -> Json:
        """Say that a request was not accepted."""

    def pong(self, request_id: str | None) -> Json | None:
        """Answer a ping."""

    def market_status(self, status: Json, now_ms: int) -> Json:
        """Tell the state of the market."""

    def update(self, word: str, symbol: str, fields: Json, now_ms: int) -> Json:
        """Tell what happened to a symbol, under the word by which the client asked for it."""
