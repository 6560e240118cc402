"""The newer dialect, server side: ``{"type": …, "id": …, "payload": …}``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

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

IdPlace = Literal["payload", "top", "nowhere"]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Speak the envelope dialect. The attributes are all that no vendor page shows; set them to try other guesses."""

    name: str = "envelope"
    prices: PriceStyle = "number"
    #: What each kind of update is called.
    kinds: Mapping[Kind, str] = field(default_factory=lambda: {kind: kind.value for kind in Kind})
    #: Which key of a symbol object asks for level 2.
    level2_key: str = "level2"
    #: Where the id of the request comes back in events.
    id_place: IdPlace = "payload"
    #: Whether an update's symbol stands in ``data`` or beside it.
    symbol_place: Literal["data", "payload"] = "data"
    #: How many units of ``expiresIn`` make a second; 0 leaves it out.
    expiry_units_per_second: int = 1000
    #: Whether subscribe and unsubscribe are acknowledged, and pings answered.
    acks: bool = True
    pongs: bool = True

    def read(self, document: object) -> Request:
        """Make a request of one JSON document."""
        if not isinstance(document, dict):
            return Unreadable("message", "a message must be a JSON object", None)
        request_id = word_or_none(document.get("id"))
        payload = document.get("payload")
        match document.get("type"):
            case "ping":
                return Ping(request_id)
            case "request":
                return self._read_auth(payload, request_id)
            case "subscribe":
                return self._read_subscribe(payload, request_id)
            case "unsubscribe":
                return self._read_unsubscribe(payload, request_id)
            case other:
                return Unreadable("message", f"unknown type: {other!r}", request_id)

    def auth_accepted(self, request_id: str | None, expires_in_seconds: float, now_ms: int) -> Json:
        """Say that the session is authenticated."""
        units = round(expires_in_seconds * self.expiry_units_per_second)
        payload: Json = {"action": "authSuccess", "data": {"expiresIn": units} if units else {}}
        return self._event(payload, request_id, now_ms)

    def auth_refused(self, request_id: str | None, error: str, now_ms: int) -> Json:
        """Say that it is not."""
        return self.error("auth", error, request_id, now_ms)

    def auth_word(self, word: AuthWord, now_ms: int) -> Json:
        """Say something about the session unasked."""
        return self._event({"action": word.value}, None, now_ms)

    def ack(self, action: str, request_id: str | None) -> Json | None:
        """Say that a request was accepted."""
        if not self.acks:
            return None
        return {"type": "response", "id": request_id, "payload": {"action": action, "status": "success"}}

    def error(self, action: str, error: str, request_id: str | None, now_ms: int) -> Json:  # noqa: ARG002 - the id tells
        """Say that a request was not accepted."""
        return self._event({"action": "error", "error": error}, request_id, now_ms)

    def pong(self, request_id: str | None) -> Json | None:
        """Answer a ping."""
        if not self.pongs:
            return None
        return {"type": "pong"} if request_id is None else {"type": "pong", "id": request_id}

    def market_status(self, status: Json, now_ms: int) -> Json:
        """Tell the state of the market."""
        return self._event({"action": "update", "type": "marketStatus", "data": status}, None, now_ms)

    def update(self, word: str, symbol: str, fields: Json, now_ms: int) -> Json:
        """Tell what happened to a symbol."""
        payload: Json
        if self.symbol_place == "data":
            payload = {"action": "update", "type": word, "data": {"symbol": symbol, **fields}}
        else:
            payload = {"action": "update", "type": word, "symbol": symbol, "data": fields}
        return self._event(payload, None, now_ms)

    def _event(self, payload: Json, request_id: str | None, now_ms: int) -> Json:
        event: Json = {"type": "event", "payload": payload}
        if request_id is not None and self.id_place == "payload":
            payload["id"] = request_id
        if request_id is not None and self.id_place == "top":
            event["id"] = request_id
        payload["timestamp"] = now_ms
        return event

    def _read_auth(self, payload: object, request_id: str | None) -> Request:
        if not isinstance(payload, dict) or payload.get("path") != "/auth":
            return Unreadable("request", "unknown path", request_id)
        body = payload.get("body")
        token = body.get("token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token:
            return Unreadable("auth", "token is required", request_id)
        return Authenticate(token, None, request_id)

    def _read_subscribe(self, payload: object, request_id: str | None) -> Request:
        if not isinstance(payload, list):
            return Unreadable("subscribe", "payload must be an array of symbol objects", request_id)
        try:
            return Subscribe(tuple(self._symbol_request(item) for item in payload), request_id)
        except ValueError as error:
            return Unreadable("subscribe", str(error), request_id)

    def _read_unsubscribe(self, payload: object, request_id: str | None) -> Request:
        if not isinstance(payload, list):
            return Unreadable("unsubscribe", "payload must be an array of symbol objects", request_id)
        try:
            return Unsubscribe(tuple((_symbol(item), None) for item in payload), request_id)
        except ValueError as error:
            return Unreadable("unsubscribe", str(error), request_id)

    def _symbol_request(self, item: object) -> SymbolRequest:
        symbol = _symbol(item)
        assert isinstance(item, dict)
        asked_class = item.get("symbolType", "equity")
        if asked_class not in ("equity", "option"):
            raise ValueError(f"{symbol}: unknown symbolType: {asked_class!r}")
        if "greeksFields" in item and asked_class != "option":
            raise ValueError(f'{symbol}: greeksFields needs symbolType "option"')
        has = KINDS_OF[symbol_class(symbol)]
        kinds = {kind: wanted for kind, wanted in self._kinds_asked(item).items() if kind in has}
        return SymbolRequest(symbol, kinds, SymbolClass(asked_class), replaces=True)

    def _kinds_asked(self, item: Json) -> dict[Kind, Wanted]:
        asked: dict[Kind, object] = {
            kind: item[key]
            for kind, key in (
                (Kind.QUOTE, "quoteFields"),
                (Kind.TRADE, "tradeFields"),
                (Kind.TIME_AND_SALES, "timeAndSalesFields"),
                (Kind.GREEKS, "greeksFields"),
            )
            if key in item
        }
        if Kind.QUOTE not in asked and Kind.TRADE not in asked:
            # ``fields`` is the old name for both; absent altogether it means everything of both.
            asked[Kind.QUOTE] = asked[Kind.TRADE] = item.get("fields", "*")
        if item.get(self.level2_key) is True:
            asked[Kind.LEVEL2] = "*"
        choices = ((kind, field_choice(value)) for kind, value in asked.items())
        return {
            kind: Wanted(self.kinds[kind], choice)
            for kind, choice in choices
            if choice is None or choice & FIELDS_OF[kind]
        }


def _symbol(item: object) -> str:
    symbol = item.get("symbol") if isinstance(item, dict) else None
    if not isinstance(symbol, str) or not symbol:
        raise ValueError("each symbol object needs a symbol")
    return symbol
