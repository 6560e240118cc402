"""The older dialect: ``{"action": …, "type": …, "data": …}`` on ``/v1/marketdata/ws``.

Marks: [O] documented for this dialect, [A] assumed. A first session against the real server corrects an
assumption in the tables right below, and nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import msgspec

from bridge.aries.protocol.dialect import Request, batched, expires_in_seconds, text_of, update_of, usual_update
from bridge.aries.protocol.messages import Ack, AuthAccepted, AuthRefused, AuthWanted, Event, Pong, RequestRefused
from bridge.aries.protocol.ndjson import decoder_of
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import BadLine
from bridge.market_data import FIELDS, EventType, JsonObject, Update, UpdateKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bridge.aries.subscriptions import Subscription

#: ``action`` of a message.
AUTH, PING, SUBSCRIBE = "auth", "ping", "subscribe"  # [O]
UNSUBSCRIBE, ERROR = "unsubscribe", "error"  # [A]
UPDATES = (None, "publish", "update")  # [O] none for composites, publish for market status; [A] update
#: … that asks for authentication, and in how many seconds at the latest: [A] as in the newer dialect.
AUTH_WANTED = {"authRequired": 0.0, "refreshAuth": 300.0, "authExpired": 0.0}
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
#: What to subscribe to for quotes and trades: [O] for equities, [A] for the others.
COMPOSITES = {
    SymbolType.EQUITY: "equityComposite",
    SymbolType.INDEX: "equityComposite",
    SymbolType.OPTION: "optionComposite",
}
#: What to subscribe to for the other records: [A].
SINGLES = {EventType.TIMESALES: "timeAndSales", EventType.L2: "level2", EventType.GREEKS: "greeks"}
ALL_FIELDS = ("*",)  # [O]
SUCCESS = "success"  # [O]
TEXTS = ("message", "error")  # keys of an answer's text: [O] the first, [A] the second
FEED_TIME = "timestamp"  # [A] as in the newer dialect
EXPIRES_IN_PER_SECOND = 1000.0  # [A] expiresIn, if there is one, is as in the newer dialect

_COMPOSED = frozenset({EventType.QUOTES, EventType.TRADES})


class _Message(msgspec.Struct, gc=False, rename={"feed_time": FEED_TIME}):
    type: str
    data: JsonObject
    action: str | None = None
    feed_time: object = None


_decoded = decoder_of(_Message)


class Action:
    """Speak the older dialect; ``api_key`` gives what is sent along with the token where it is asked for."""

    name: ClassVar[str] = "action"
    pong_is_documented: ClassVar[bool] = True
    subscriptions_add_up: ClassVar[bool] = True  # one per type

    def __init__(self, api_key: Callable[[], str] | None = None) -> None:
        self._api_key = api_key

    def auth(self, request_id: str, token: str) -> bytes:  # noqa: ARG002 - this dialect has no ids
        """Compose the authentication request [O]; raise ``SecretUnreadable`` where the key cannot be read."""
        credentials = {"token": token} | ({"xAPIKey": self._api_key()} if self._api_key else {})
        return msgspec.json.encode({"action": AUTH, **credentials})

    def ping(self, request_id: str) -> bytes:  # noqa: ARG002 - this dialect has no ids
        """Compose an application ping [O]."""
        return msgspec.json.encode({"action": PING})

    def subscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose subscribe requests, per type of subscription [O]."""
        for wire_type, portion in _portions(subscriptions):
            symbols: list[JsonObject] = [{"symbol": one.symbol, "fields": _fields(one)} for one in portion]
            yield _request(SUBSCRIBE, wire_type, symbols, portion, next(ids))

    def unsubscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose unsubscribe requests, per type of subscription [A]."""
        for wire_type, portion in _portions(subscriptions):
            symbols: list[JsonObject] = [{"symbol": one.symbol} for one in portion]
            yield _request(UNSUBSCRIBE, wire_type, symbols, portion, next(ids))

    def read(self, message: JsonObject) -> Event:
        """Return what a message says; raise ``BadLine`` where it says nothing we know."""
        action = message.get("action")
        if action in UPDATES:
            return update_of(message, KINDS, FEED_TIME)
        return _answer(message, action)

    def update(self, line: bytes) -> Update | None:
        """Return what ``read`` would, for the usual update."""
        message = _decoded(line)
        if message is None or message.action not in UPDATES:
            return None
        data = message.data
        return usual_update(KINDS.get(message.type), data.get("symbol"), data, message.feed_time)


def _request(
    word: str, wire_type: str, symbols: list[JsonObject], portion: tuple[Subscription, ...], request_id: str
) -> Request:
    frame = msgspec.json.encode({"action": word, "type": wire_type, "data": symbols})
    return Request(request_id, frame, portion)


def _portions(subscriptions: Sequence[Subscription]) -> Iterator[tuple[str, tuple[Subscription, ...]]]:
    """Cut subscriptions into requests: by type, and there each with no more than it has of that type."""
    by_type: dict[str, list[Subscription]] = {}
    for one in subscriptions:
        for wire_type, events in _types(one).items():
            by_type.setdefault(wire_type, []).append(replace(one, events=one.events & events))
    for wire_type, asked in by_type.items():
        for portion in batched(asked):
            yield wire_type, portion


def _types(subscription: Subscription) -> Mapping[str, frozenset[EventType]]:
    of_type = {
        COMPOSITES[subscription.type]: _COMPOSED,
        **{word: frozenset({event}) for event, word in SINGLES.items()},
    }
    return {wire_type: events for wire_type, events in of_type.items() if not events.isdisjoint(subscription.events)}


def _fields(subscription: Subscription) -> Sequence[str]:
    """Return the fields to ask for: all of the type, or those of the records that are wanted."""
    chosen = {event: subscription.fields.get(event) for event in EventType if event in subscription.events}
    half_a_composite = len(_COMPOSED & subscription.events) == 1
    if not half_a_composite and not any(chosen.values()):
        return ALL_FIELDS
    return list(dict.fromkeys(name for event, names in chosen.items() for name in names or FIELDS[event]))


def _answer(message: JsonObject, action: object) -> Event:
    if action == AUTH:
        return _auth_answer(message)
    if action == PING:
        return Pong()
    if action == SUBSCRIBE:
        return Ack(None) if _succeeded(message) else RequestRefused(None, _text(message))
    if action == UNSUBSCRIBE:
        # Named by its word, lest it be taken for the answer to a subscribe request.
        return Ack(UNSUBSCRIBE) if _succeeded(message) else RequestRefused(UNSUBSCRIBE, _text(message))
    if action == ERROR:
        return RequestRefused(None, _text(message))
    if type(action) is str and action in AUTH_WANTED:
        return AuthWanted(AUTH_WANTED[action])
    raise BadLine("unknown_message", f"an action {text_of(action, 'of no name')!r} is not known")


def _auth_answer(message: JsonObject) -> Event:
    if _said(message) == SUCCESS:
        return AuthAccepted(expires_in_seconds(message.get("data"), EXPIRES_IN_PER_SECOND))
    return AuthRefused(_text(message))


def _succeeded(message: JsonObject) -> bool:
    """Return whether a request was accepted; an answer that says nothing else says yes [A]."""
    return _said(message) in (None, SUCCESS)


def _said(message: JsonObject) -> object:
    return next((message[key] for key in TEXTS if message.get(key) is not None), None)


def _text(message: JsonObject) -> str:
    return text_of(_said(message), "an answer without a text")
