"""What becomes of a line, by the code of the bridge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.explain.explainer import Explainer
from bridge.kafka.partitioner import partition
from bridge.topics import Topic, topic_names

NAMES = topic_names("aries", {})


def quote(*, symbol: str = "AAPL", **fields: object) -> bytes:
    data = {"symbol": symbol, **fields}
    payload = {"action": "update", "type": "quote", "data": data}
    return json.dumps({"type": "event", "payload": payload}).encode()


AUTH = b'{"type":"event","payload":{"action":"authSuccess"}}'
REFUSED = b'{"type":"error","payload":{"id":"auth-001","error":"no"}}'


def explainer(dialect: Any = "envelope", **options: Any) -> Explainer:
    return Explainer(dialect, NAMES, 6, **options)


def records(explaining: Explainer, *frames: bytes) -> list[tuple[object, object]]:
    """Return ``seq`` and ``after_gap`` of the records of some frames."""
    found = [one for frame in frames for one in explaining.explain(frame, 1)]
    return [(one.record["seq"], one.record["after_gap"]) for line in found for one in line.records]


def test_a_record_has_its_topic_partition_and_key() -> None:
    """As of the bridge: the partition is that of its key."""
    [line] = explainer().explain(quote(bidPrice="1.25"), 1_000_000)
    [record] = line.records
    assert (line.result, line.filtered, line.cleared, line.unknown_fields) == ("published", None, (), ())
    assert (record.topic, record.key, record.partition) == ("aries.quotes", b"AAPL", partition(b"AAPL", 6))
    assert record.record["ingest_time_us"] == 1_000_000
    assert str(record).startswith(f"aries.quotes[{partition(b'AAPL', 6)}] AAPL bid_price=1.25 ")


def test_a_frame_has_a_line_for_each_of_its_lines() -> None:
    """Blank ones apart; the elements of an array are lines, too."""
    frame = quote(bidPrice=1) + b"\n\n[" + AUTH + b"," + quote(bidPrice=2) + b"]\nping\nnonsense"
    found = [line.result for line in explainer().explain(frame, 1)]
    assert found == ["published", "filtered", "published", "filtered", "dead_letter"]


def test_records_are_counted_through_all_lines() -> None:
    """A session begins with its first data or with the answer to its token, and another one with a connection."""
    explaining = explainer()
    assert records(explaining, quote(bidPrice=1), quote(bidPrice=2)) == [(0, True), (1, False)]
    explaining.reconnect()
    assert records(explaining, AUTH, quote(bidPrice=3), quote(bidPrice=4)) == [(0, True), (1, False)]


def test_a_rejected_token_does_not_end_the_explanations() -> None:
    """What follows counts as received on another connection."""
    explaining = explainer()
    assert records(explaining, REFUSED, quote(bidPrice=1)) == [(0, True)]


def test_a_renewed_token_continues_the_session() -> None:
    """As the bridge sends one when it is asked to."""
    explaining = explainer()
    refresh = b'{"type":"event","payload":{"action":"refreshAuth"}}'
    assert records(explaining, AUTH, quote(bidPrice=1), refresh, AUTH, quote(bidPrice=2)) == [(0, True), (1, False)]


def test_what_could_not_be_read_is_named_beside_the_record() -> None:
    """So are fields that no record has."""
    [line] = explainer().explain(quote(bidPrice="1", askPrice="N/A", novelty=1), 1)
    assert [(one.topic, one.field, one.value) for one in line.cleared] == [("aries.quotes", "askPrice", "'N/A'")]
    assert line.unknown_fields == ("novelty",)
    assert line.records[0].record["cleared"] == ["ask_price"]
    [again] = explainer().explain(quote(bidPrice="1"), 1)
    assert (again.cleared, again.unknown_fields) == ((), ())


def test_of_equal_lines_each_is_explained() -> None:
    """What the bridge logs only once is shown each time, however many dead letters there are."""
    explaining = explainer()
    for _ in range(3):
        [line] = explaining.explain(quote(bidPrice="1", askPrice="N/A", novelty=1), 1)
        assert (len(line.cleared), line.unknown_fields) == (1, ("novelty",))
    letters = [line for _ in range(3000) for line in explaining.explain(b"nonsense", 1)]
    assert {line.result for line in letters} == {"dead_letter"}


def test_a_dead_letter_says_why() -> None:
    """With its record, which holds the line."""
    [line] = explainer().explain(b"nonsense", 1)
    assert line.dead_letter is not None
    assert (line.dead_letter["reason"], line.dead_letter["raw"]) == ("not_json", b"nonsense")
    [text] = line.lines()
    assert text.startswith("aries.dlq[0] - dead letter not_json: the line is not JSON")


def test_a_dead_letter_of_a_symbol_has_it_as_its_key() -> None:
    """It is a jump in the symbol's ``seq``."""
    explaining = explainer()
    assert records(explaining, quote(bidPrice=1)) == [(0, True)]
    [line] = explaining.explain(quote(bidPrice="1,5"), 1)
    assert (line.result, line.records[0].key) == ("dead_letter", b"AAPL")
    assert records(explaining, quote(bidPrice=2)) == [(2, True)]


@pytest.mark.parametrize("is_full", [None, True, False])
def test_whether_books_are_whole_is_as_configured(is_full: bool | None) -> None:  # noqa: FBT001 - a parameter
    """Level-2 records carry it."""
    payload = b'{"action":"update","type":"level2","data":{"symbol":"AAPL","orderBook":["1.5:100:B:1"]}}'
    [line] = explainer(is_full=is_full).explain(b'{"type":"event","payload":' + payload + b"}", 1)
    assert [(one.kind, one.record["is_full"]) for one in line.records if one.kind is Topic.L2] in (
        [(Topic.L2, is_full)],
        [],
    )


def test_text_cannot_control_a_terminal() -> None:
    """Whatever the feed sends in names, values and symbols."""
    explaining = explainer()
    for frame in (
        quote(bidPrice="1").replace(b'"bidPrice"', b'"new\\u001b[2J\\n": 1, "bidPrice"'),
        quote(bidPrice="\x1b[2J\n", askPrice=1),
        quote(symbol="\x1b[2J", bidPrice=1),
        b"\x1b[2J\x07",
    ):
        for line in explaining.explain(frame, 1):
            assert all(text.isprintable() for text in line.lines())
            assert line.json().isascii()
            assert line.json().isprintable()
