"""What holds for both dialects, whatever is received."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.dialect import heartbeat_of
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.messages import Heartbeat, Message, Ping, Pong
from bridge.aries.protocol.ndjson import parse
from bridge.errors import BadLine
from bridge.market_data import Update, UpdateKind
from tests.aries.protocol.documents import DOCUMENTS

if TYPE_CHECKING:
    from bridge.aries.protocol.dialect import Dialect


@pytest.mark.parametrize("dialect", [Action(), Envelope()], ids=lambda dialect: str(dialect.name))
@given(document=DOCUMENTS)
def test_any_document_is_a_message_or_a_bad_line(dialect: Dialect, document: object) -> None:
    """Reading any line returns a message or raises a BadLine with a reason."""
    found = read(dialect, json.dumps(document).encode())
    if isinstance(found, BadLine):
        assert found.reason
        assert str(found)
    else:
        assert isinstance(found, get_args(Message))
        if isinstance(found, Update):
            assert found.symbol.encode()


def read(dialect: Dialect, line: bytes) -> Message | BadLine:
    try:
        return dialect.read(parse(line))
    except BadLine as error:
        return error


@pytest.mark.parametrize(
    ("wire_type", "field", "evidence"),
    [
        ("tradeCancel", {}, "its type"),
        ("executionBust", {}, "its type"),
        ("print", {"tradeCorrection": "C"}, "its field tradeCorrection"),
        ("lastSale", {"originalSize": 100}, "its field originalSize"),
    ],
)
def test_a_cancel_or_correction_is_no_execution(wire_type: str, field: dict[str, object], evidence: str) -> None:
    """An update of unknown type with all fields of an execution becomes a dead letter that says why."""
    data = {"symbol": "AAPL", "price": 1.5, "size": 100, "tradeSeq": 7, **field}
    for dialect, message in _updates(wire_type, data):
        found = read(dialect, json.dumps(message).encode())
        assert isinstance(found, BadLine)
        assert found.reason == "unknown_kind"
        assert str(found).endswith(f"{wire_type!r}, which by {evidence} cancels or corrects an earlier one")


def test_an_execution_of_unknown_type_is_still_one() -> None:
    """A field that says that it is no correction changes nothing."""
    data = {"symbol": "AAPL", "price": 1.5, "size": 100, "tradeSeq": 7, "tradeCancel": None, "isCorrection": False}
    for dialect, message in _updates("print", data):
        found = read(dialect, json.dumps(message).encode())
        assert isinstance(found, Update)
        assert found.kind is UpdateKind.TIMESALE


def test_a_symbol_that_is_a_number_is_its_text() -> None:
    """Symbols of other countries are digits: a server may send them as numbers, in the fields or beside them."""
    for dialect, message in _updates("quote", {"symbol": 700, "bidPrice": "1.5"}):
        found = read(dialect, json.dumps(message).encode())
        assert isinstance(found, Update)
        assert found.symbol == "700"
    beside = read(Action(), b'{"type":"level2","symbol":5,"data":{"orderBook":[]}}')
    assert isinstance(beside, Update)
    assert beside.symbol == "5"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"type":"PING","id":7}', Ping(7)),
        ('{"op":"ping"}', Ping()),
        ('{"ping":1764239640123}', Ping()),
        ('{"event":"pong"}', Pong()),
        ('{"type":"heartbeat","time":5}', Heartbeat()),
        ('{"type":"event","payload":{"action":"Keep-Alive"}}', Heartbeat()),
        ('{"type":"event","payload":{"action":"update","type":"heartbeat","data":{}}}', Heartbeat()),
        ('{"type":"hello"}', None),
        ('{"h":1,"s":"AAPL"}', None),
        ('{"type":["ping"]}', None),
        ("{}", None),
    ],
)
def test_a_message_that_keeps_the_connection_alive_is_known_by_its_word(text: str, expected: Message | None) -> None:
    """Servers write it in ways that are none of the dialect's."""
    assert heartbeat_of(json.loads(text)) == expected


@pytest.mark.parametrize(
    ("fields", "wire_type"),
    [
        ({"x": 1}, "mystery"),
        ({"price": 1.5, "size": 100, "isBusted": True}, "print"),
        ({"price": 1.5, "size": 100}, "tradeCancel"),
    ],
)
@pytest.mark.parametrize(
    ("symbol", "expected"), [("AAPL", "AAPL"), (None, None), (7, "7"), ("x" * 65, None), ("a\nb", None), ("", None)]
)
def test_a_line_of_unknown_kind_keeps_its_symbol(
    fields: dict[str, object], wire_type: str, symbol: object, expected: str | None
) -> None:
    """A bad line knows whose it is if its symbol is valid, in its data or beside them."""
    for dialect, message in _updates(wire_type, {"symbol": symbol, **fields}):
        found = read(dialect, json.dumps(message).encode())
        assert isinstance(found, BadLine)
        assert (found.reason, found.symbol) == ("unknown_kind", expected)


@pytest.mark.parametrize("data", [{"x": 1}, [1], None])
def test_a_bad_line_keeps_the_symbol_beside_its_data(data: object) -> None:
    """A symbol beside the data counts, also if the data are malformed."""
    payload = {"action": "update", "type": "mystery", "symbol": "MSFT", "data": data}
    dialects: list[tuple[Dialect, object]] = [(Action(), payload), (Envelope(), {"type": "event", "payload": payload})]
    for dialect, message in dialects:
        found = read(dialect, json.dumps(message).encode())
        assert isinstance(found, BadLine)
        assert found.symbol == "MSFT"


def _updates(wire_type: str, data: object) -> list[tuple[Dialect, object]]:
    payload = {"action": "update", "type": wire_type, "data": data}
    return [(Action(), {"type": wire_type, "data": data}), (Envelope(), {"type": "event", "payload": payload})]


USUAL: dict[str, list[Any]] = {
    "action": ["publish", None, "update"],
    "type": ["quote", "equityComposite", "trade", "marketStatus", "level2", "", None, 5, "nothing"],
    "symbol": ["AAPL", "", None, 7, "x" * 64, "x" * 65, "a\tb", "\u20ac"],
    "value": ["1.5", 1.50, 12345678901234567890, None, True, [], {"a": [1.25]}, "\ud83d\ude00"],
}


@given(st.data())
def test_decode_update_returns_what_read_does(data: st.DataObject) -> None:
    """The update that is decoded in one step is the one that ``parse`` and ``read`` return, to the last digit."""
    parts = {name: data.draw(st.sampled_from(values)) for name, values in USUAL.items()}
    fields = {"symbol": parts["symbol"], "bidPrice": parts["value"], "price": parts["value"]}
    body: dict[str, Any] = {name: parts[name] for name in data.draw(st.permutations(["action", "type"]))}
    body |= {"data": data.draw(st.sampled_from([fields, [fields], None])), "timestamp": parts["value"]}
    left_out = data.draw(st.sampled_from(["", "", "", "data", "timestamp", "type", "action"]))
    body.pop(left_out, None)
    for dialect, message in ((Action(), body), (Envelope(), {"type": "event", "payload": body})):
        line = json.dumps(message).encode()
        assert dialect.decode_update(line) in (None, read(dialect, line))


@given(document=DOCUMENTS)
def test_decode_update_returns_no_other_update(document: object) -> None:
    """Of any line it returns what ``read`` does, or None."""
    line = json.dumps(document).encode()
    for dialect in (Action(), Envelope()):
        assert dialect.decode_update(line) in (None, read(dialect, line))


def test_updates_of_symbols_are_decoded_in_one_step() -> None:
    """Session messages, market status and invalid lines are not."""
    quote = b'{"symbol":"AAPL","bidPrice":1.50}'
    action, envelope = Action(), Envelope()
    assert action.decode_update(b'{"type":"equityComposite","data":' + quote + b"}") == Update(
        UpdateKind.COMPOSITE, "AAPL", {"symbol": "AAPL", "bidPrice": "1.50"}
    )
    usual = b'{"type":"event","payload":{"action":"update","type":"quote","timestamp":5,"data":' + quote + b"}}"
    assert envelope.decode_update(usual) == Update(UpdateKind.QUOTE, "AAPL", {"symbol": "AAPL", "bidPrice": "1.50"}, 5)
    for line in (
        b"",
        b"{}",
        b"\xff",
        b'{"type":"pong"}',
        usual[:-1],
        usual + b"}",
        b"[" * 5000,
        usual.replace(b"AAPL", b"\xff"),
    ):
        assert envelope.decode_update(line) is action.decode_update(line) is None
    deep = usual.replace(b"1.50", b"[" * 260 + b"]" * 260)
    assert envelope.decode_update(deep) is None
