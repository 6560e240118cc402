"""What a dialect of the wire has to provide, and what both dialects share."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from bridge.aries.protocol.classification import classify, correction
from bridge.aries.protocol.messages import Heartbeat, Ping, Pong
from bridge.aries.protocol.ndjson import HEARTBEATS
from bridge.errors import BadLine
from bridge.market_data import MARKET, MARKET_STATUS, Update, UpdateKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.aries.protocol.messages import Message
    from bridge.aries.subscriptions import Subscription
    from bridge.market_data import JsonObject, UpdateShape

#: Symbols in one request [A]; the server's limit is not known.
MAX_SYMBOLS_PER_REQUEST = 200
#: A longer text is not taken for a symbol, as a symbol becomes a record's key and a key of our dictionaries.
MAX_SYMBOL_CHARACTERS = 64
#: A longer text of the server is truncated in logs and errors.
MAX_TEXT_CHARACTERS = 200
_MAX_ID_BITS = 63
#: Keys whose value may be the word of a ping or heartbeat [A].
_WORD_KEYS = ("type", "action", "event", "op", "method")


class Request(msgspec.Struct, frozen=True):
    """A request for some symbols: the frame to send, and the subscriptions in it."""

    request_id: str
    frame: bytes
    subscriptions: tuple[Subscription, ...]


class RequestIds:
    """The ids of a connection's requests: a prefix and a number that is used once."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def of(self, prefix: str) -> Iterator[str]:
        """Yield ids with this prefix."""
        return (f"{prefix}-{number:03}" for number in self._numbers)

    def next(self, prefix: str) -> str:
        """Return the next id, with this prefix."""
        return next(self.of(prefix))


class Dialect(Protocol):
    """The requests and messages of one dialect."""

    name: ClassVar[str]
    #: Whether the vendor documents that an application ping is answered.
    pong_is_documented: ClassVar[bool]
    #: Whether a second subscription to a symbol adds to the first (then to get less takes an unsubscribe), or replaces
    #: it.
    subscriptions_add_up: ClassVar[bool]
    #: What ``decode_update`` takes for an update, as a table.
    update_shape: ClassVar[UpdateShape]

    def auth(self, request_id: str, token: str) -> bytes:
        """Compose an authentication request; raise ``SecretUnreadable`` if another credential cannot be read."""

    def ping(self, request_id: str) -> bytes:
        """Compose an application ping."""

    def pong(self, request_id: str | int | None) -> bytes:
        """Compose the answer to an application ping of the server."""

    def subscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose the requests for these subscriptions, each with the next of the ids."""

    def unsubscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose the requests that end these subscriptions, each with the next of the ids."""

    def read(self, message: JsonObject) -> Message:
        """Return the typed message; raise ``BadLine`` if it is not known."""

    def decode_update(self, line: bytes) -> Update | None:
        """Return what ``parse`` and ``read`` make of an update about a symbol, and None for any other line.

        Nearly all lines are such updates, and one step instead of two saves an eighth of the time from frame to queue.
        """


def batched(subscriptions: Sequence[Subscription]) -> Iterator[tuple[Subscription, ...]]:
    """Split subscriptions into batches of one request each."""
    for start in range(0, len(subscriptions), MAX_SYMBOLS_PER_REQUEST):
        yield tuple(subscriptions[start : start + MAX_SYMBOLS_PER_REQUEST])


def heartbeat_of(message: JsonObject) -> Ping | Pong | Heartbeat | None:
    """Return what a message that no dialect knows is if it only keeps the connection alive [A]; else None.

    Its type, its action or another such key says so by a word, or its only key is that word.
    """
    payload = message.get("payload")
    body = payload if type(payload) is dict and payload else message
    words = (*(body.get(key) for key in _WORD_KEYS), *(body if len(body) == 1 else ()))
    word = next((word for word in words if type(word) is str and word.lower().encode() in HEARTBEATS), None)
    if word is None:
        return None
    match word.lower():
        case "ping":
            return Ping(ping_id(body.get("id", message.get("id"))))
        case "pong":
            return Pong()
    return Heartbeat()


def update_of(body: JsonObject, kinds: Mapping[str, UpdateKind], feed_time: str) -> Update:
    """Return the update in the object that holds its ``type`` and ``data``; raise ``BadLine`` if it is invalid.

    ``kinds`` maps the types of a dialect; an update of another type is classified by its fields.
    """
    data = body.get("data")
    if type(data) is not dict:
        raise BadLine("malformed", "an update without an object as its data", symbol=_valid(body.get("symbol")))
    symbol = data.get("symbol")
    if symbol is None:
        symbol = body.get("symbol")  # [A] beside the fields
    if type(symbol) is int:
        symbol = str(symbol)  # of another country's exchange: 700 in Hong Kong
    wire_type = body.get("type")
    kind = kinds.get(wire_type) if type(wire_type) is str else None
    if kind is None:
        kind = _classified(wire_type, data, _valid(symbol))
    if kind is MARKET_STATUS:
        return Update(kind, MARKET, data, body.get(feed_time))
    update = symbol_update(kind, symbol, data, body.get(feed_time))
    if update is None:
        raise BadLine("bad_symbol", "the update has no symbol, or an invalid one")
    return update


def _classified(wire_type: object, data: JsonObject, symbol: str | None) -> UpdateKind:
    """Return the kind of an update of unknown type; raise ``BadLine`` if it has none, or must not be taken for one."""
    named = text_of(wire_type, "nothing")
    if evidence := correction(wire_type, data):
        text = f"an update of unknown type {named!r}, which by {evidence} cancels or corrects an earlier one"
        raise BadLine("unknown_kind", text, symbol=symbol)
    kind = classify(data)
    if kind is None:
        text = f"an update of unknown type {named!r} and without a known field"
        raise BadLine("unknown_kind", text, symbol=symbol)
    return kind


def symbol_update(kind: UpdateKind | None, symbol: object, fields: JsonObject, feed_time: object) -> Update | None:
    """Return the update about a symbol; None if it is about none, or the symbol is invalid."""
    if kind is None or kind is MARKET_STATUS or type(symbol) is not str:
        return None
    if 0 < len(symbol) <= MAX_SYMBOL_CHARACTERS and symbol.isprintable():
        return Update(kind, symbol, fields, feed_time)
    return None


def _valid(symbol: object) -> str | None:
    """Return a symbol that an update could have, and None for anything else."""
    update = symbol_update(UpdateKind.QUOTE, symbol, {}, None)
    return update and update.symbol


def ping_id(value: object) -> str | int | None:
    """Return the id of a ping of the server, to be sent back; None if it is none, or too long."""
    if type(value) is str and len(value) <= MAX_TEXT_CHARACTERS:
        return value
    return value if type(value) is int and value.bit_length() <= _MAX_ID_BITS else None


def text_of(value: object, default: str) -> str:
    """Return a text of the server, truncated for logs and errors, or the default if it is none."""
    return value[:MAX_TEXT_CHARACTERS] if type(value) is str and value else default


def expires_in_seconds(data: object, per_second: float) -> float | None:
    """Return a session's lifetime by the ``expiresIn`` of an answer; None if that is missing or invalid."""
    value = data.get("expiresIn") if type(data) is dict else None
    if type(value) is not int and type(value) is not str:
        return None
    try:
        seconds = float(value) / per_second
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < float("inf") else None
