"""What becomes of one dead letter, without Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.pipeline.dead_letters import MAX_RAW_BYTES
from bridge.redrive.reprocessing import Outcome, Reprocessing, Result
from bridge.serialization.deserializer import Deserializer
from bridge.topics import NOT_PLACED, SUBSCRIBABLE, Topic
from tests.pipeline.test_dead_letters import Flood
from tests.redrive.letters import INGEST_US, SCHEMAS, SERIALIZER, SESSION, letter, trade_line

if TYPE_CHECKING:
    from collections.abc import Mapping


async def outcome(one: Mapping[str, Any], wanted: Mapping[str, frozenset[Topic]] | None = None) -> Outcome:
    wanted = wanted or {"AAPL": frozenset(SUBSCRIBABLE)}
    return await Reprocessing(SCHEMAS, Deserializer(SCHEMAS), wanted=wanted).outcome(one)


async def records(found: Outcome) -> list[dict[str, Any]]:
    decoder = Deserializer(SCHEMAS)
    return [(await decoder.decode(record.value)).record for record in found.records]


@pytest.mark.parametrize("dialect", ["envelope", "action"])
async def test_a_line_becomes_a_record_of_its_session_without_a_place_in_the_sequence(dialect: str) -> None:
    """The record has the time and session of the letter, no ``seq``, no ``after_gap``; its dialect reads it."""
    found = await outcome(letter(trade_line(dialect=dialect), dialect=dialect))

    assert found.result is Result.REDRIVEN
    assert [(one.topic, one.key, one.ingest_us) for one in found.records] == [(Topic.TIMESALES, b"AAPL", INGEST_US)]
    [record] = await records(found)
    assert (record["session_id"], record["ingest_time_us"]) == (SESSION, INGEST_US)
    assert (record["seq"], record["after_gap"]) == (NOT_PLACED, False)
    assert str(record["price"]) == "187.250000000"


async def test_a_composite_line_becomes_a_record_on_each_topic_that_its_symbol_gets() -> None:
    """The subscriptions decide as in the bridge, also for a symbol that they do not name."""
    line = b'{"action":"update","type":"equityComposite","data":{"symbol":"%s","bidPrice":"1.5","lastPrice":"2"}}'
    wanted = {"AAPL": frozenset({Topic.QUOTES}), "MSFT": frozenset({Topic.QUOTES, Topic.TRADES})}

    assert [
        [one.topic for one in (await outcome(letter(line % symbol, dialect="action"), wanted)).records]
        for symbol in (b"AAPL", b"MSFT", b"IBM")
    ] == [[Topic.QUOTES], [Topic.QUOTES, Topic.TRADES], [Topic.QUOTES, Topic.TRADES]]


async def test_what_fails_again_says_why() -> None:
    """A line that this version cannot read either has its present reason and error, and no record."""
    for raw, why, text in (
        (b"{", "not_json", "the line is not JSON"),
        (trade_line(price="N/A"), "bad_field", "price"),
        (trade_line(symbol=""), "bad_symbol", "symbol"),
    ):
        found = await outcome(letter(raw))
        assert (found.result, found.records, found.why) == (Result.FAILED, (), why)
        assert text in found.text


async def test_letters_are_independent() -> None:
    """Thousands of letters are looked at without a limit, and none changes what becomes of the next."""
    reprocessing = Reprocessing(SCHEMAS, Deserializer(SCHEMAS), wanted={"AAPL": frozenset(SUBSCRIBABLE)})
    for _ in range(1500):
        assert (await reprocessing.outcome(letter(b"{"))).result is Result.FAILED
        assert (await reprocessing.outcome(letter(trade_line()))).result is Result.REDRIVEN


async def test_a_record_that_kafka_rejected_comes_back_as_it_was() -> None:
    """A letter that holds a value becomes the same record, without its place in the sequence."""
    value = SERIALIZER.encode(
        Topic.QUOTES,
        {
            "symbol": "AAPL",
            "ingest_time_us": INGEST_US,
            "session_id": SESSION,
            "seq": 7,
            "after_gap": True,
            "bid_size": 3,
            "cleared": ["ask_size"],
        },
    )
    found = await outcome(letter(value, reason="record_refused", symbol="AAPL"))

    assert [(one.topic, one.key) for one in found.records] == [(Topic.QUOTES, b"AAPL")]
    [record] = await records(found)
    assert (record["seq"], record["after_gap"], record["bid_size"]) == (NOT_PLACED, False, 3)
    assert record["cleared"] == ["ask_size"]
    assert (await outcome(letter(b"\xc3\x01garbage-", reason="record_refused"))).why == "undecodable"


async def test_a_line_of_which_the_end_is_missing_is_skipped() -> None:
    """The bridge cuts long lines; a letter that it has written so is recognized."""
    flood = Flood()
    flood.bad_lines(1, raw=b'{"a":"' + b"x" * MAX_RAW_BYTES)
    queue = flood.table.buffer.queue_for(Topic.DLQ, None)
    written = (await Deserializer(SCHEMAS).decode(queue.waiting[0][2])).record

    found = await outcome(written)
    assert (found.result, found.why) == (Result.SKIPPED, "cut")


async def test_what_must_not_or_cannot_become_a_record_is_skipped() -> None:
    """A redacted line, market status (its topic is compacted), a line without data, a topic without a subscription."""
    status = b'{"type":"event","payload":{"action":"update","type":"marketStatus","data":{"market":"open"}}}'
    quotes = {"AAPL": frozenset({Topic.QUOTES})}
    assert [
        (await outcome(letter(trade_line(price="***")))).why,
        (await outcome(letter(status))).why,
        (await outcome(letter(b'{"type":"pong"}'))).why,
        (await outcome(letter(trade_line()), quotes)).why,
        (await outcome(letter(trade_line(), dialect="morse"))).why,
    ] == ["redacted", "compacted", "no_data", "not_subscribed", "dialect"]
