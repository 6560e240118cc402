"""What a line of the feed says, the same for every dialect."""

from __future__ import annotations

import msgspec

from bridge.market_data import Update


class AuthAccepted(msgspec.Struct, frozen=True):
    """Say that the session is authenticated, for ``expires_in_seconds`` where the server tells."""

    expires_in_seconds: float | None = None


class AuthRefused(msgspec.Struct, frozen=True):
    """Say that the token was not accepted."""

    error: str


class AuthWanted(msgspec.Struct, frozen=True):
    """Say that the server asks for authentication within ``seconds_left``; 0: the session has lapsed, or never was."""

    seconds_left: float


class Pong(msgspec.Struct, frozen=True):
    """Answer an application ping."""


class Ack(msgspec.Struct, frozen=True):
    """Say that a request was accepted; ``request_id`` None: the answer does not tell which."""

    request_id: str | None


class RequestRefused(msgspec.Struct, frozen=True):
    """Say that a request, or something unnamed, went wrong; ``request_id`` as in ``Ack``."""

    request_id: str | None
    error: str


Event = Update | AuthAccepted | AuthRefused | AuthWanted | Pong | Ack | RequestRefused
