"""The messages of the feed, the same for both dialects."""

from __future__ import annotations

from typing import ClassVar

from bridge.market_data import Reply, Update


class AuthAccepted(Reply, frozen=True):
    """The token was accepted; ``expires_in_seconds`` is the session's lifetime, if the server sent it."""

    counted_as: ClassVar[str] = "auth"

    expires_in_seconds: float | None = None


class AuthRejected(Reply, frozen=True):
    """The token was rejected."""

    counted_as: ClassVar[str] = "auth"

    error: str


class AuthRequired(Reply, frozen=True):
    """A request for authentication within ``seconds_left``; 0: the session has expired, or there never was one."""

    counted_as: ClassVar[str] = "auth"

    seconds_left: float


class Pong(Reply, frozen=True):
    """The answer to an application ping."""

    counted_as: ClassVar[str] = "pong"


class Ping(Reply, frozen=True):
    """An application ping of the server, to be answered with its id, if it has one."""

    counted_as: ClassVar[str] = "ping"

    request_id: str | int | None = None


class Heartbeat(Reply, frozen=True):
    """A line that only keeps the connection alive, such as a word instead of JSON."""

    counted_as: ClassVar[str] = "heartbeat"


class Ack(Reply, frozen=True):
    """A request was accepted; ``request_id`` is None if the message does not say which."""

    counted_as: ClassVar[str] = "ack"

    request_id: str | None


class RequestRejected(Reply, frozen=True):
    """A request was rejected, or something else failed; ``request_id`` as in ``Ack``."""

    counted_as: ClassVar[str] = "error"

    request_id: str | None
    error: str


Message = Update | AuthAccepted | AuthRejected | AuthRequired | Pong | Ping | Heartbeat | Ack | RequestRejected
