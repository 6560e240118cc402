"""The newer dialect, message by message as in the protocol description."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

import pytest

from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.messages import Ack, AuthAccepted, AuthRequired, Message, Pong, RequestRejected
from bridge.aries.protocol.ndjson import parse
from bridge.aries.subscriptions import plan
from bridge.errors import BadLine
from bridge.market_data import MARKET, Update, UpdateKind
from tests.aries.protocol.wire import CLOSED, TIMESTAMP, line

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVELOPE = Envelope()


def read(text: str | bytes) -> Message:
    return ENVELOPE.read(parse(text.encode() if isinstance(text, str) else text))


def event(**payload: object) -> bytes:
    return line({"type": "event", "payload": payload})


def ids() -> Iterator[str]:
    return (f"sub-{number}" for number in count(1))


def asked(described: object) -> list[object]:
    """Return the symbol objects for these subscriptions."""
    wanted = plan([], ["quotes", "trades", "l2", "timesales"], json.dumps(described))
    (request,) = ENVELOPE.subscribe(tuple(wanted.values()), ids())
    message = json.loads(request.frame)
    assert (message.pop("type"), message.pop("id")) == ("subscribe", "sub-1")
    (payload,) = message.values()
    assert isinstance(payload, list)
    return payload


# -- out --------------------------------------------------------------------------------------------------------


def test_the_auth_request_is_the_documented_one() -> None:
    """The token is a direct property of the body."""
    assert ENVELOPE.auth("auth-001", 'to"ken').decode() == (
        '{"type":"request","id":"auth-001","payload":'
        '{"method":"post","path":"/auth","body":{"action":"auth","token":"to\\"ken"}}}'
    )


def test_the_ping_is_the_one_of_the_sibling_sockets() -> None:
    """A ping has its type and an id."""
    assert ENVELOPE.ping("p1") == b'{"type":"ping","id":"p1"}'


def test_all_events_of_a_symbol_are_requested_in_one_object() -> None:
    """Each event type has its key; without a choice all fields are requested."""
    assert asked([{"symbol": "AAPL"}]) == [
        {
            "symbol": "AAPL",
            "symbolType": "equity",
            "quoteFields": "*",
            "tradeFields": "*",
            "timeAndSalesFields": "*",
            "level2": True,
        }
    ]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (
            {"symbol": "AAPL", "events": ["quotes"], "fields": {"quotes": ["bidPrice", "askPrice"]}},
            {"symbol": "AAPL", "symbolType": "equity", "quoteFields": ["bidPrice", "askPrice"]},
        ),
        ({"symbol": "AAPL", "events": ["trades"]}, {"symbol": "AAPL", "symbolType": "equity", "tradeFields": "*"}),
        ({"symbol": "SPX"}, {"symbol": "SPX", "tradeFields": "*"}),
        (
            {"symbol": "AAPL240119C00150000", "events": ["greeks", "l2"], "fields": {"greeks": ["delta"]}},
            {"symbol": "AAPL240119C00150000", "symbolType": "option", "greeksFields": ["delta"], "level2": True},
        ),
        (
            {"symbol": "AAPL", "events": ["timesales"], "fields": {"timesales": ["price"]}},
            {"symbol": "AAPL", "symbolType": "equity", "timeAndSalesFields": ["price"]},
        ),
    ],
)
def test_symbols_are_requested_by_type_events_and_fields(described: object, expected: object) -> None:
    """Options have their type, indices have trades only, and chosen fields are listed."""
    assert asked([described]) == [expected]


def test_many_symbols_take_several_requests() -> None:
    """5,000 symbols are 25 requests of 200, each with its id and its subscriptions."""
    wanted = plan([f"S{number}" for number in range(5000)], ["quotes"])
    requests = list(ENVELOPE.subscribe(tuple(wanted.values()), ids()))
    assert len(requests) == 25
    assert len({request.request_id for request in requests}) == 25
    for request in requests:
        symbols = [one["symbol"] for one in json.loads(request.frame)["payload"]]
        assert symbols == [one.symbol for one in request.subscriptions]
        assert len(symbols) == 200


def test_unsubscribe_requests_have_no_fields() -> None:
    """They list the symbols only."""
    wanted = plan(["AAPL", "SPX"], ["quotes", "trades"])
    (request,) = ENVELOPE.unsubscribe(tuple(wanted.values()), ids())
    assert request.frame == b'{"type":"unsubscribe","id":"sub-1","payload":[{"symbol":"AAPL"},{"symbol":"SPX"}]}'
    assert list(ENVELOPE.unsubscribe((), ids())) == []


# -- in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                '{"type":"event","payload":'
                '{"action":"authSuccess","id":"auth-001","data":{"expiresIn":2700000},"timestamp":1701450000123}}'
            ),
            AuthAccepted(2700.0),
        ),
        (
            (
                '{"type":"event","payload":'
                '{"action":"error","error":"authentication failed","id":"auth-001","timestamp":1701450000123}}'
            ),
            RequestRejected("auth-001", "authentication failed"),
        ),
        (
            '{"type":"event","id":"auth-001","payload":{"action":"error","error":"token is required"}}',
            RequestRejected("auth-001", "token is required"),
        ),
        ('{"type":"event","payload":{"action":"error","error":"no"}}', RequestRejected(None, "no")),
        ('{"type":"event","payload":{"action":"error"}}', RequestRejected(None, "an error without a text")),
        ('{"type":"error","id":"7","payload":{"error":"no"}}', RequestRejected("7", "no")),
        ('{"type":"error","id":"7","error":"no"}', RequestRejected("7", "no")),
        ('{"type":"event","payload":{"action":"authRequired","timestamp":1}}', AuthRequired(0.0)),
        ('{"type":"event","payload":{"action":"refreshAuth","timestamp":1}}', AuthRequired(300.0)),
        ('{"type":"event","payload":{"action":"authExpired","timestamp":1}}', AuthRequired(0.0)),
        ('{"type":"pong","id":"p1"}', Pong()),
        ('{"type":"response","id":"sub-1","payload":{}}', Ack("sub-1")),
        ('{"type":"response","id":"sub-1"}', Ack("sub-1")),
        ('{"type":"response","payload":{"id":"sub-1","status":"success"}}', Ack("sub-1")),
        ('{"type":"response","id":"sub-1","payload":{"error":"no"}}', RequestRejected("sub-1", "no")),
        (
            '{"type":"response","id":"sub-1","payload":{"status":"error","message":"no"}}',
            RequestRejected("sub-1", "no"),
        ),
    ],
)
def test_session_messages_are_understood(text: str, expected: Message) -> None:
    """Answers and warnings become messages, with the id from the payload or from the top level."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ('{"expiresIn":1500}', 1.5),
        ('{"expiresIn":1500.5}', 1.5005),
        ('{"expiresIn":"3000"}', 3.0),
        ('{"expiresIn":0}', None),
        ('{"expiresIn":-5}', None),
        ('{"expiresIn":true}', None),
        ('{"expiresIn":null}', None),
        ('{"expiresIn":"soon"}', None),
        ('{"expiresIn":"nan"}', None),
        ('{"expiresIn":1e999}', None),
        ('{"expiresIn":%s}' % ("9" * 400), None),
        ('{"expiresIn":[1]}', None),
        ("{}", None),
        ("[]", None),
        ("null", None),
    ],
)
def test_a_session_lifetime_is_a_positive_number_or_unknown(data: str, seconds: float | None) -> None:
    """``expiresIn`` is milliseconds; an invalid one counts as absent."""
    message = '{"type":"event","payload":{"action":"authSuccess","data":DATA}}'.replace("DATA", data)
    assert read(message) == AuthAccepted(seconds)


def test_market_status_is_an_update_of_the_market() -> None:
    """The documented market status keeps all its fields, and the server's timestamp."""
    message = event(action="update", type="marketStatus", data=CLOSED, timestamp=TIMESTAMP)
    assert read(message) == Update(UpdateKind.MARKET_STATUS, MARKET, dict(CLOSED), TIMESTAMP)


@pytest.mark.parametrize(
    ("wire_type", "kind"),
    [
        ("quote", UpdateKind.QUOTE),
        ("trade", UpdateKind.TRADE),
        ("level2", UpdateKind.LEVEL2),
        ("timeAndSales", UpdateKind.TIMESALE),
        ("greeks", UpdateKind.GREEKS),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_updates_are_classified_by_their_type(wire_type: str, kind: UpdateKind, beside: bool) -> None:  # noqa: FBT001 - a case
    """Each type has its kind, whether the symbol is in the data or beside it."""
    payload = {"symbol": "AAPL", "data": {"x": "1.10"}} if beside else {"data": {"symbol": "AAPL", "x": "1.10"}}
    update = read(event(action="update", type=wire_type, timestamp=TIMESTAMP, **payload))
    assert update == Update(kind, "AAPL", payload["data"], TIMESTAMP)  # type: ignore[arg-type]  # an object


@pytest.mark.parametrize("wire_type", ["somethingNew", "", None, 7, ["quote"], {"quote": 1}])
def test_an_unknown_type_is_classified_by_its_fields(wire_type: object) -> None:
    """If the type is unknown, the names of the fields decide."""
    update = read(event(action="update", type=wire_type, data={"symbol": "AAPL", "orderBook": ["1:2:3"]}))
    assert update == Update(UpdateKind.LEVEL2, "AAPL", {"symbol": "AAPL", "orderBook": ["1:2:3"]})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "unknown_message"),
        ('{"type":"news"}', "unknown_message"),
        ('{"type":["event"]}', "unknown_message"),
        ('{"type":{"event":1}}', "unknown_message"),
        ('{"type":"event"}', "unknown_message"),
        ('{"type":"event","payload":[1]}', "unknown_message"),
        ('{"type":"event","payload":{}}', "unknown_message"),
        ('{"type":"event","payload":{"action":["update"]}}', "unknown_message"),
        ('{"type":"event","payload":{"action":{"update":1}}}', "unknown_message"),
        ('{"type":"event","payload":{"action":"dance"}}', "unknown_message"),
        ('{"type":"event","payload":{"action":"update"}}', "malformed"),
        ('{"type":"event","payload":{"action":"update","type":"quote","data":[1]}}', "malformed"),
        ('{"type":"event","payload":{"action":"update","type":"quote","data":null}}', "malformed"),
        ('{"type":"event","payload":{"action":"update","type":"x","data":{"symbol":"A","y":1}}}', "unknown_kind"),
    ],
)
def test_an_unknown_message_is_a_bad_line(text: str, reason: str) -> None:
    """A message of unknown shape has a reason."""
    with pytest.raises(BadLine) as caught:
        read(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize("symbol", [None, "", True, [], {}, ["AAPL"], "A\nB", "A\u0000", "x" * 65, "\ud7ff\u2028"])
def test_an_invalid_symbol_is_a_bad_line(symbol: object) -> None:
    """A symbol is printable and of bounded length."""
    with pytest.raises(BadLine) as caught:
        read(event(action="update", type="quote", data={"symbol": symbol, "bidPrice": 1}))
    assert caught.value.reason == "bad_symbol"


def test_a_long_error_text_is_truncated() -> None:
    """The texts of a server must not flood the logs."""
    refusal = read(event(action="error", error="x" * 100_000))
    assert isinstance(refusal, RequestRejected)
    assert len(refusal.error) == 200
