"""What a line of the feed says, the same for every dialect."""

from __future__ import annotations

from typing import ClassVar

from bridge.market_data import Reply, Update


class AuthAccepted(Reply, frozen=True):
    """Say that the session is authenticated, for ``expires_in_seconds`` where the server tells."""

    counted_as: ClassVar[str] = "auth"

    expires_in_seconds: float | None = None


class AuthRefused(Reply, frozen=True):
    """Say that the token was not accepted."""

    counted_as: ClassVar[str] = "auth"

    error: str


class AuthWanted(Reply, frozen=True):
    """Say that the server asks for authentication within ``seconds_left``; 0: the session has lapsed, or never was."""

    counted_as: ClassVar[str] = "auth"

    seconds_left: float


class Pong(Reply, frozen=True):
    """Answer an application ping."""

    counted_as: ClassVar[str] = "pong"


class Ack(Reply, frozen=True):
    """Say that a request was accepted; ``request_id`` None: the answer does not tell which."""

    counted_as: ClassVar[str] = "ack"

    request_id: str | None


class RequestRefused(Reply, frozen=True):
    """Say that a request, or something unnamed, went wrong; ``request_id`` as in ``Ack``."""

    counted_as: ClassVar[str] = "error"

    request_id: str | None
    error: str


Event = Update | AuthAccepted | AuthRefused | AuthWanted | Pong | Ack | RequestRefused
