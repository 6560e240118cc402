"""The older dialect: ``{"action": …, "type": …, "data": …}`` on ``/v1/marketdata/ws``.

Marks: [O] documented for this dialect, [A] assumed. A first session against the real server corrects an
assumption in the tables below, and nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import msgspec

from bridge.aries.protocol.dialect import (
    Request,
    batched,
    expires_in_seconds,
    ping_id,
    symbol_update,
    text_of,
    update_of,
)
from bridge.aries.protocol.messages import (
    Ack,
    AuthAccepted,
    AuthRejected,
    AuthRequired,
    Message,
    Ping,
    Pong,
    RequestRejected,
)
from bridge.aries.protocol.ndjson import ALWAYS_SHALLOW_BYTES, UNREADABLE, line_decoder, may_be_deep
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import BadLine
from bridge.market_data import FIELDS, EventType, JsonObject, Update, UpdateKind, UpdateShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bridge.aries.subscriptions import Subscription

#: ``action`` of a message
AUTH, PING, SUBSCRIBE = "auth", "ping", "subscribe"  # [O]
UNSUBSCRIBE, ERROR = "unsubscribe", "error"  # [A]
#: ``message`` of the answer to a ping [O], and of a ping of the server [A], which has the same action.
PONG_TEXT, PING_TEXTS = "pong", (None, "ping")
UPDATES = (None, "publish", "update")  # [O] none for composites, "publish" for market status; [A] "update"
#: ``action`` of a message that requires authentication, and within how many seconds: [A] as in the newer dialect.
AUTH_REQUIRED = {"authRequired": 0.0, "refreshAuth": 300.0, "authExpired": 0.0}
#: ``type`` of an update: [O] for equityComposite and marketStatus, [A] for the others.
KINDS = {
    "equityComposite": UpdateKind.COMPOSITE,
    "optionComposite": UpdateKind.COMPOSITE,
    "indexComposite": UpdateKind.COMPOSITE,
    "timeAndSales": UpdateKind.TIMESALE,
    "level2": UpdateKind.LEVEL2,
    "greeks": UpdateKind.GREEKS,
    "marketStatus": UpdateKind.MARKET_STATUS,
}
#: Type of subscription for quotes and trades: [O] for equities, [A] for the others.
COMPOSITE_TYPES = {
    SymbolType.EQUITY: "equityComposite",
    SymbolType.INDEX: "equityComposite",
    SymbolType.OPTION: "optionComposite",
}
#: Type of subscription for the other event types: [A].
SINGLE_TYPES = {EventType.TIMESALES: "timeAndSales", EventType.L2: "level2", EventType.GREEKS: "greeks"}
ALL_FIELDS = ("*",)  # [O]
SUCCESS = "success"  # [O]
TEXT_KEYS = ("message", "error")  # of an answer's text: [O] the first, [A] the second
FEED_TIME = "timestamp"  # [A] as in the newer dialect
EXPIRES_IN_PER_SECOND = 1000.0  # [A] milliseconds, as in the newer dialect

_COMPOSITE_EVENTS = frozenset({EventType.QUOTES, EventType.TRADES})


class _UpdateMessage(msgspec.Struct, gc=False, rename={"feed_time": FEED_TIME}):
    type: str
    data: JsonObject
    action: str | None = None
    feed_time: object = None


_decode = line_decoder(_UpdateMessage)


class Action:
    """The older dialect; ``api_key`` returns the key to send along with the token, for accounts that need one."""

    name: ClassVar[str] = "action"
    pong_is_documented: ClassVar[bool] = True
    subscriptions_add_up: ClassVar[bool] = True  # [A] one for each type
    update_shape: ClassVar[UpdateShape] = UpdateShape(
        KINDS, FEED_TIME, holder=None, words={}, update_words={"action": UPDATES}
    )

    def __init__(self, api_key: Callable[[], str] | None = None) -> None:
        self._api_key = api_key

    def auth(self, request_id: str, token: str) -> bytes:  # noqa: ARG002 - this dialect has no ids
        """Compose an authentication request [O]; raise ``SecretUnreadable`` if the API key cannot be read."""
        credentials = {"token": token} | ({"xAPIKey": self._api_key()} if self._api_key else {})
        return msgspec.json.encode({"action": AUTH, **credentials})

    def ping(self, request_id: str) -> bytes:  # noqa: ARG002 - this dialect has no ids
        """Compose an application ping [O]."""
        return msgspec.json.encode({"action": PING})

    def pong(self, request_id: str | int | None) -> bytes:
        """Compose the answer to a ping of the server [A], with its id even though this dialect has none."""
        request = {} if request_id is None else {"id": request_id}
        return msgspec.json.encode({"action": PING, "message": PONG_TEXT, **request})

    def subscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose subscribe requests, separate for each type of subscription [O]."""
        for wire_type, batch in _batches(subscriptions):
            symbols: list[JsonObject] = [{"symbol": one.symbol, "fields": _fields(one)} for one in batch]
            yield _request(SUBSCRIBE, wire_type, symbols, batch, next(ids))

    def unsubscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose unsubscribe requests, separate for each type of subscription [A]."""
        for wire_type, batch in _batches(subscriptions):
            symbols: list[JsonObject] = [{"symbol": one.symbol} for one in batch]
            yield _request(UNSUBSCRIBE, wire_type, symbols, batch, next(ids))

    def read(self, message: JsonObject) -> Message:
        """Return the typed message; raise ``BadLine`` if it is not known."""
        action = message.get("action")
        if action in UPDATES:
            return update_of(message, KINDS, FEED_TIME)
        return _answer(message, action)

    def decode_update(self, line: bytes) -> Update | None:
        """Return what ``read`` would for an update about a symbol, and None for any other line."""
        if len(line) > ALWAYS_SHALLOW_BYTES and may_be_deep(line):
            return None
        try:
            message = _decode(line)
        except UNREADABLE:
            return None
        if message.action not in UPDATES:
            return None
        data = message.data
        return symbol_update(KINDS.get(message.type), data.get("symbol"), data, message.feed_time)


def _request(
    action: str, wire_type: str, symbols: list[JsonObject], batch: tuple[Subscription, ...], request_id: str
) -> Request:
    frame = msgspec.json.encode({"action": action, "type": wire_type, "data": symbols})
    return Request(request_id, frame, batch)


def _batches(subscriptions: Sequence[Subscription]) -> Iterator[tuple[str, tuple[Subscription, ...]]]:
    """Split subscriptions by type, each reduced to the events of that type, and into batches of one request each."""
    by_type: dict[str, list[Subscription]] = {}
    for one in subscriptions:
        for wire_type, events in _types(one).items():
            by_type.setdefault(wire_type, []).append(replace(one, events=one.events & events))
    for wire_type, typed in by_type.items():
        for batch in batched(typed):
            yield wire_type, batch


def _types(subscription: Subscription) -> Mapping[str, frozenset[EventType]]:
    events_of = {
        COMPOSITE_TYPES[subscription.type]: _COMPOSITE_EVENTS,
        **{wire_type: frozenset({event}) for event, wire_type in SINGLE_TYPES.items()},
    }
    return {wire_type: events for wire_type, events in events_of.items() if not events.isdisjoint(subscription.events)}


def _fields(subscription: Subscription) -> Sequence[str]:
    """Return the fields to request: all of the type, or those of the subscribed event types."""
    chosen = {event: subscription.fields.get(event) for event in EventType if event in subscription.events}
    half_a_composite = len(_COMPOSITE_EVENTS & subscription.events) == 1
    if not half_a_composite and not any(chosen.values()):
        return ALL_FIELDS
    return list(dict.fromkeys(name for event, names in chosen.items() for name in names or FIELDS[event]))


def _answer(message: JsonObject, action: object) -> Message:
    if action == AUTH:
        return _auth_answer(message)
    if action == PING:
        return Ping(ping_id(message.get("id"))) if _answer_text(message) in PING_TEXTS else Pong()
    if action == SUBSCRIBE:
        return Ack(None) if _succeeded(message) else RequestRejected(None, _text(message))
    if action == UNSUBSCRIBE:
        # With an id that no subscribe request has, so that it is not taken for the answer to one.
        return Ack(UNSUBSCRIBE) if _succeeded(message) else RequestRejected(UNSUBSCRIBE, _text(message))
    if action == ERROR:
        return RequestRejected(None, _text(message))
    if type(action) is str and action in AUTH_REQUIRED:
        return AuthRequired(AUTH_REQUIRED[action])
    raise BadLine("unknown_message", f"a message with unknown action {text_of(action, 'none')!r}")


def _auth_answer(message: JsonObject) -> Message:
    if _answer_text(message) == SUCCESS:
        return AuthAccepted(expires_in_seconds(message.get("data"), EXPIRES_IN_PER_SECOND))
    return AuthRejected(_text(message))


def _succeeded(message: JsonObject) -> bool:
    """Return whether a request was accepted; an answer without a text is an acceptance [A]."""
    return _answer_text(message) in (None, SUCCESS)


def _answer_text(message: JsonObject) -> object:
    return next((message[key] for key in TEXT_KEYS if message.get(key) is not None), None)


def _text(message: JsonObject) -> str:
    return text_of(_answer_text(message), "an answer without a text")
