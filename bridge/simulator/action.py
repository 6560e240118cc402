"""The older dialect, server side: ``{"action": …, "type": …, "data": …}``."""

# ruff: noqa: ARG002 - the dialects share their methods, and this one has neither request ids nor time stamps

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.simulator.fields import FIELDS_OF, KINDS_OF, Kind, SymbolClass, symbol_class
from bridge.simulator.requests import (
    Authenticate,
    Json,
    Ping,
    Request,
    Subscribe,
    SymbolRequest,
    Unreadable,
    Unsubscribe,
    Wanted,
    field_choice,
    word_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.simulator.dialect import AuthWord, PriceStyle

#: Kinds that can travel together in one flat object.
_COMPOSABLE = (Kind.QUOTE, Kind.TRADE, Kind.GREEKS)
_CLASS_OF = {"equityComposite": SymbolClass.EQUITY, "optionComposite": SymbolClass.OPTION}


@dataclass(frozen=True, kw_only=True)
class Action:
    """Speak the action dialect. The attributes are all that no vendor page shows; set them to try other guesses."""

    name: str = "action"
    prices: PriceStyle = "string"
    #: What each subscription type holds when all fields are asked for; only ``equityComposite`` is documented.
    types: Mapping[str, frozenset[Kind]] = field(
        default_factory=lambda: {
            "equityComposite": frozenset({Kind.QUOTE, Kind.TRADE}),
            "optionComposite": frozenset({Kind.QUOTE, Kind.TRADE}),
            "timeAndSales": frozenset({Kind.TIME_AND_SALES}),
            "level2": frozenset({Kind.LEVEL2}),
            "greeks": frozenset({Kind.GREEKS}),
        }
    )
    #: Whether an error names the request's action, or the word ``error``.
    errors_name_the_action: bool = False
    #: Whether subscribe and unsubscribe are acknowledged, and pings answered (the latter is documented).
    acks: bool = True
    pongs: bool = True

    def read(self, document: object) -> Request:
        """Make a request of one JSON document."""
        if not isinstance(document, dict):
            return Unreadable("message", "a message must be a JSON object", None)
        match document.get("action"):
            case "auth":
                return _read_auth(document)
            case "ping":
                return Ping(None)
            case "subscribe":
                return self._read_subscribe(document)
            case "unsubscribe":
                return self._read_unsubscribe(document)
            case other:
                return Unreadable("message", f"unknown action: {other!r}", None)

    def auth_accepted(self, request_id: str | None, expires_in_seconds: float, now_ms: int) -> Json:
        """Say that the session is authenticated."""
        return {"action": "auth", "message": "success"}

    def auth_refused(self, request_id: str | None, error: str, now_ms: int) -> Json:
        """Say that it is not."""
        return {"action": "auth", "message": error}

    def auth_word(self, word: AuthWord, now_ms: int) -> Json:
        """Say something about the session unasked."""
        return {"action": word.value}

    def ack(self, action: str, request_id: str | None) -> Json | None:
        """Say that a request was accepted."""
        return {"action": action, "message": "success"} if self.acks else None

    def error(self, action: str, error: str, request_id: str | None, now_ms: int) -> Json:
        """Say that a request was not accepted."""
        return {"action": action if self.errors_name_the_action else "error", "message": error}

    def pong(self, request_id: str | None) -> Json | None:
        """Answer a ping."""
        return {"action": "ping", "message": "pong"} if self.pongs else None

    def market_status(self, status: Json, now_ms: int) -> Json:
        """Tell the state of the market."""
        return {"action": "publish", "type": "marketStatus", "data": status}

    def update(self, word: str, symbol: str, fields: Json, now_ms: int) -> Json:
        """Tell what happened to a symbol."""
        return {"type": word, "data": {"symbol": symbol, **fields}}

    def _read_subscribe(self, document: Json) -> Request:
        try:
            word, items = self._selection(document)
            return Subscribe(tuple(self._symbol_request(word, item) for item in items), None)
        except ValueError as error:
            return Unreadable("subscribe", str(error), None)

    def _read_unsubscribe(self, document: Json) -> Request:
        try:
            word, items = self._selection(document)
        except ValueError as error:
            return Unreadable("unsubscribe", str(error), None)
        kinds = self.types[word]
        return Unsubscribe(tuple((str(item["symbol"]), kinds) for item in items), None)

    def _selection(self, document: Json) -> tuple[str, list[Json]]:
        word, data = document.get("type"), document.get("data")
        if not isinstance(word, str) or word not in self.types:
            raise ValueError(f"unknown type: {word!r}")
        if not isinstance(data, list):
            raise ValueError("data must be an array of symbol objects")  # noqa: TRY004 - bad JSON, not a bad call
        for item in data:
            if not isinstance(item, dict) or not isinstance(item.get("symbol"), str) or not item["symbol"]:
                raise ValueError("each symbol object needs a symbol")
        return word, data

    def _symbol_request(self, word: str, item: Json) -> SymbolRequest:
        symbol = str(item["symbol"])
        choice = field_choice(item.get("fields", "*"))
        has = KINDS_OF[symbol_class(symbol)]
        kinds = {kind: Wanted(word, choice) for kind in self._kinds_asked(word, choice) if kind in has}
        return SymbolRequest(symbol, kinds, _CLASS_OF.get(word))

    def _kinds_asked(self, word: str, choice: frozenset[str] | None) -> frozenset[Kind]:
        """Return what a subscription asks for: a composite holds the kinds whose fields are named."""
        if choice is None or word not in _CLASS_OF:
            return self.types[word]
        return frozenset(kind for kind in _COMPOSABLE if FIELDS_OF[kind] & choice)


def _read_auth(document: Json) -> Request:
    token = document.get("token")
    if not isinstance(token, str) or not token:
        return Unreadable("auth", "token is required", None)
    return Authenticate(token, word_or_none(document.get("xAPIKey")), None)
