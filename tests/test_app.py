"""The whole path: simulator, the real service, a broker, and another client's reader."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from bridge.kafka.partitioner import partition
from bridge.simulator import faults
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.market_status import MarketState
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.service import by_symbol, environment, eventually, read, running

if TYPE_CHECKING:
    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.usefixtures("topics")
DATA = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.GREEKS)
OPTION = "AAPL240119C00150000"


def settled(bridge: Bridge, lines: int) -> bool:
    """Return whether so many lines are read and all of them accounted for."""
    return bridge.accounts.lines_received >= lines and bridge.accounts.pending == 0


@pytest.fixture(params=["python", "compiled"])
def encoder(request: pytest.FixtureRequest) -> str:
    """Return what turns usual lines into records; the compiled step must have been built."""
    if request.param == "compiled":
        request.getfixturevalue("compiled_step")
    chosen: str = request.param
    return chosen


@pytest.mark.parametrize("dialect", ["envelope", "action"])
async def test_every_line_ends_as_a_decoded_record_in_order(
    dialect: str, encoder: str, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """In either dialect all that the server sent is on Kafka, numbered without a hole, keyed, and accounted for."""
    async with Simulator(dialect=dialect, lines_per_frame=3, seed=5) as simulator:  # type: ignore[arg-type]
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_SYMBOLS=f"AAPL,MSFT,SPX,{OPTION}",
            ARIES_EVENTS="quotes,trades,l2,timesales,greeks",
            BRIDGE_ENCODER=encoder,
        )
        async with running(environ) as bridge:
            assert (bridge.ingest.take_lines is not None) is (encoder == "compiled")
            await simulator.subscribed("AAPL", "MSFT", "SPX", OPTION)
            await eventually(lambda: bridge.client.state == "streaming", "streaming")
            await simulator.emit(2_000)
            await eventually(lambda: settled(bridge, simulator.sent.lines), "all lines accounted for")
            sent = simulator.sent
            assert bridge.accounts.lines_received == sent.lines
            assert bridge.accounts.balance == 0
            assert not bridge.accounts.dead_lettered
            assert not bridge.ingest.unknown_fields
        found = await read(broker.bootstrap_servers, topic_prefix)
    kinds = {
        Topic.QUOTES: DataKind.QUOTE,
        Topic.TRADES: DataKind.TRADE,
        Topic.TIMESALES: DataKind.TIME_AND_SALES,
        Topic.L2: DataKind.LEVEL2,
        Topic.GREEKS: DataKind.GREEKS,
    }
    grouped = by_symbol(found)
    expected = {
        (topic, symbol): count
        for topic, kind in kinds.items()
        for (of, symbol), count in sent.records.items()
        if of is kind
    }
    assert {place: len(records) for place, records in grouped.items() if place[0] in DATA} == expected
    for (topic, _), records in grouped.items():
        if topic in DATA:
            assert [record["seq"] for record in records] == list(range(len(records)))
            assert [record["after_gap"] for record in records] == [True] + [False] * (len(records) - 1)
            assert len({record["session_id"] for record in records}) == 1
    for one in found:
        if one.topic in DATA:
            assert one.key == one.record["symbol"]
            assert one.partition == partition(one.record["symbol"].encode(), 4)
    assert grouped[Topic.MARKET_STATUS, "market"][0]["market"] == "open"


async def test_decimals_arrive_exactly_as_they_were_sent(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """No digit of a price is lost, as a number or as text, and the Kafka timestamp is the time of reading."""
    async with Simulator(dialect="envelope") as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="AAPL")
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL")
            await simulator.send_line(
                b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"AAPL",'
                b'"bidPrice":999999999.123456789,"askPrice":"0.000000001","bidSize":"100","askSize":7,'
                b'"quoteTimestamp":"2025-06-25T04:12:14.327-04:00"},"timestamp":1701450000123}}'
            )
            await eventually(lambda: settled(bridge, simulator.sent.lines), "the quote")
        found = await read(broker.bootstrap_servers, topic_prefix, Topic.QUOTES)
    quote = found[-1]
    assert quote.record["bid_price"] == Decimal("999999999.123456789")
    assert quote.record["ask_price"] == Decimal("0.000000001")
    assert (quote.record["bid_size"], quote.record["ask_size"]) == (100, 7)
    assert quote.record["event_time"].isoformat() == "2025-06-25T08:12:14.327000+00:00"
    assert quote.timestamp_ms == quote.record["ingest_time_us"] // 1000


async def test_a_bad_line_affects_no_other(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Bad lines become dead letters with their bytes; good ones in the same frame become records."""
    update = b'{"type":"event","payload":{"action":"update","type":"%s","data":%s}}'
    bad = {
        b"this is no JSON": "not_json",
        b'{"a":NaN}': "unknown_message",
        b'{"a":NaNa}': "not_json",
        b"\xff\xfe": "not_json",
        b'{"a":' * 1000 + b"0" + b"}" * 1000: "not_json",
        b"-42": "not_an_object",
        b'"text"': "not_an_object",
        b'{"type":null}': "unknown_message",
        update % (b"quote", b'{"symbol":null,"bidPrice":1}'): "bad_symbol",
        update % (b"quote", b'{"symbol":true,"bidPrice":1}'): "bad_symbol",
        update % (b"quote", b'{"symbol":"AAPL","bidPrice":[]}'): "bad_field",
        update % (b"quote", b'{"symbol":"AAPL","bidSize":%s}' % (b"9" * 40)): "bad_field",
        update % (b"quote", b'{"symbol":"AAPL","bidSize":%s}' % (b"9" * 5000)): "not_json",
        update % (b"mystery", b'{"symbol":"AAPL","x":1}'): "unknown_kind",
        update % (b"quote", b"[1]"): "malformed",
    }
    good = update % (b"quote", b'{"symbol":"AAPL","bidPrice":%d}')
    lines = [line for number, one in enumerate(bad) for line in (good % number, one)]
    async with Simulator(dialect="envelope") as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="AAPL")
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL")
            await eventually(lambda: settled(bridge, simulator.sent.lines), "the initial state")
            before = bridge.accounts.published[Topic.QUOTES]
            total = bridge.accounts.lines_received + len(lines)
            await simulator.send_frame(b"\r\n".join(lines) + b"\r\n\n")
            await eventually(lambda: settled(bridge, total), "the frame")
            assert bridge.accounts.published[Topic.QUOTES] == before + len(bad)
            assert bridge.accounts.dead_lettered.total() == len(bad)
            assert not bridge.client.reconnects
        found = await read(broker.bootstrap_servers, topic_prefix, Topic.DLQ)
    letters = {one.record["raw"].rstrip(b"\r"): one.record for one in found}
    assert letters.keys() == bad.keys()
    for line, reason in bad.items():
        assert letters[line]["reason"] == reason
        assert letters[line]["dialect"] == "envelope"
        # A line of a symbol is found by it, unless it is not read that far, or none that it could be.
        assert letters[line]["symbol"] == ("AAPL" if reason in ("bad_field", "unknown_kind") else None)


async def test_shards_share_the_symbols_and_one_publishes_the_market_status(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """Two shards together subscribe to each symbol once; market status comes from shard 0 alone."""
    symbols = [f"S{number}" for number in range(20)]
    async with Simulator(dialect="envelope") as simulator:
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS=",".join(symbols), BRIDGE_SHARDS="2"
        )
        async with (
            running({**environ, "BRIDGE_SHARD": "0"}) as first,
            running({**environ, "BRIDGE_SHARD": "1"}) as second,
        ):
            await simulator.subscribed(*symbols)
            assert first.plans.own.keys() | second.plans.own.keys() == set(symbols)
            assert not first.plans.own.keys() & second.plans.own.keys()
            await simulator.inject(faults.SetMarket(status=MarketState.CLOSED))
            await eventually(lambda: first.accounts.published[Topic.MARKET_STATUS] == 2, "shard 0's market status")
            await eventually(lambda: second.accounts.filtered["not_subscribed"] == 2, "shard 1's filter")
