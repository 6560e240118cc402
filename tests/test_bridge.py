"""The whole way: simulator, the real service, a broker, and another client's reader."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from bridge.errors import Cause
from bridge.kafka.partitioner import partition
from bridge.simulator import faults
from bridge.simulator.fields import Kind
from bridge.simulator.oauth import TokenEndpoint
from bridge.simulator.server import Simulator
from bridge.simulator.status import MarketState
from bridge.simulator.tokens import Tokens
from bridge.topics import Topic
from tests.service import by_symbol, control, environment, eventually, read, running

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.usefixtures("topics")
DATA = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.GREEKS)
OPTION = "AAPL240119C00150000"


@pytest.fixture
def topics(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Create the topics of one test."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)


def settled(bridge: Bridge, lines: int) -> bool:
    """Return whether so many lines are read and all of them accounted for."""
    return bridge.accounts.lines_received >= lines and bridge.accounts.pending == 0


@pytest.mark.parametrize("dialect", ["envelope", "action"])
async def test_every_line_ends_as_a_decoded_record_in_order(
    dialect: str, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """In either dialect all that the server sent is on Kafka, numbered without a hole, keyed, and accounted for."""
    async with Simulator(dialect=dialect, lines_per_frame=3, seed=5) as simulator:  # type: ignore[arg-type]
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_SYMBOLS=f"AAPL,MSFT,SPX,{OPTION}",
            ARIES_EVENTS="quotes,trades,l2,timesales,greeks",
        )
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL", "MSFT", "SPX", OPTION)
            await eventually(lambda: bridge.feed.state == "streaming", "streaming")
            await simulator.emit(2_000)
            await eventually(lambda: settled(bridge, simulator.sent.lines), "all lines accounted for")
            sent = simulator.sent
            assert bridge.accounts.lines_received == sent.lines
            assert bridge.accounts.balance == 0
            assert not bridge.accounts.dead_lettered
            assert not bridge.intake.unknown_fields
        found = await read(broker.bootstrap_servers, topic_prefix)
    kinds = {
        Topic.QUOTES: Kind.QUOTE,
        Topic.TRADES: Kind.TRADE,
        Topic.TIMESALES: Kind.TIME_AND_SALES,
        Topic.L2: Kind.LEVEL2,
        Topic.GREEKS: Kind.GREEKS,
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


async def test_decimals_arrive_exactly_as_they_were_written(broker: EmbeddedBroker, topic_prefix: str) -> None:
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


async def test_a_lost_connection_is_resumed_with_a_visible_gap(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """After a drop all subscriptions are back unasked, and consumers see where the gap was."""
    async with Simulator(dialect="envelope") as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.quote("AAPL", bidPrice="1.25")
            await eventually(lambda: settled(bridge, simulator.sent.lines), "the first session's lines")
            await simulator.inject(faults.Drop())
            await simulator.connected(2)
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.quote("AAPL", bidPrice="1.50")
            await eventually(lambda: settled(bridge, simulator.sent.lines), "the second session's lines")
            await eventually(lambda: bridge.feed.state == "streaming", "resumed")
        found = await read(broker.bootstrap_servers, topic_prefix)
    words = [record["kind"] for record in control(found)]
    assert words == [
        "SESSION_STARTED",
        "SUBSCRIBED",
        "GAP",
        "SESSION_STARTED",
        "SUBSCRIBED",
        "RESUMED",
        "SESSION_COMPLETED",
    ]
    gap, resumed = (next(one for one in control(found) if one["kind"] == kind) for kind in ("GAP", "RESUMED"))
    assert gap["gap_from_us"] == resumed["gap_from_us"] < resumed["gap_to_us"]
    assert gap["reason"].startswith("network")
    quotes = by_symbol(found)[Topic.QUOTES, "AAPL"]
    first, second = sorted({quote["session_id"] for quote in quotes})
    resumption = next(quote for quote in quotes if quote["session_id"] == second)
    assert (resumption["seq"], resumption["after_gap"]) == (0, True)
    assert first < second
    last = control(found)[-1]["counts"]
    assert last["pending"] == last["undelivered"] == last["dropped"] == 0
    assert last["lines_received"] + last["split"] == last["published"] + last["filtered"]


async def test_a_bad_line_costs_only_itself(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Bad lines become dead letters with their bytes; good ones in the same frame become records."""
    update = b'{"type":"event","payload":{"action":"update","type":"%s","data":%s}}'
    bad = {
        b"this is no JSON": "not_json",
        b'{"a":NaN}': "not_json",
        b"\xff\xfe": "not_json",
        b"[" * 1000 + b"]" * 1000: "not_json",
        b"42": "not_an_object",
        b'"text"': "not_an_object",
        b"{}": "unknown_message",
        update % (b"quote", b'{"symbol":null,"bidPrice":1}'): "bad_symbol",
        update % (b"quote", b'{"symbol":7,"bidPrice":1}'): "bad_symbol",
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
            assert not bridge.feed.reconnects
        found = await read(broker.bootstrap_servers, topic_prefix, Topic.DLQ)
    letters = {one.record["raw"].rstrip(b"\r"): one.record for one in found}
    assert letters.keys() == bad.keys()
    for line, reason in bad.items():
        assert letters[line]["reason"] == reason
        assert letters[line]["dialect"] == "envelope"


async def test_a_frame_of_two_megabytes_and_a_giant_frame_do_not_end_the_stream(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """A 2 MB frame is a dead letter; one over the limit costs a reconnect that names the limit."""
    async with Simulator(dialect="envelope") as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL")
            await simulator.inject(faults.GiantFrame(size_bytes=2_000_000))
            await eventually(lambda: bridge.accounts.dead_lettered.total() == 1, "the dead letter")
            assert not bridge.feed.reconnects
            await simulator.inject(faults.GiantFrame(size_bytes=17 * 1024 * 1024))
            await simulator.connected(2)
            assert bridge.feed.last_loss is not None
            assert "16777216 bytes" in str(bridge.feed.last_loss)


@pytest.mark.parametrize("market", [MarketState.OPEN, MarketState.CLOSED])
async def test_silence_is_a_fault_only_while_the_market_is_open(
    market: MarketState, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """A silent stall in market hours ends in a reconnect; outside them the same silence does not."""
    async with Simulator(dialect="envelope", market=market) as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_STALE_AFTER_SECONDS="0.4",
            ARIES_PONG_TIMEOUT_SECONDS="0.2",
            ARIES_PING_INTERVAL_SECONDS="0.3",
        )
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL")
            if market is MarketState.OPEN:
                await simulator.connected(2)
                assert bridge.feed.last_loss is not None
                assert bridge.feed.last_loss.cause == "stale"
            else:
                pings = simulator.received_counts["Ping"]
                await eventually(lambda: simulator.received_counts["Ping"] >= pings + 4, "longer than stale")
                assert not bridge.feed.reconnects


async def test_missing_pongs_end_in_a_reconnect(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A peer that answers no ping is given up within the pong timeout."""
    async with Simulator(dialect="action") as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_PING_INTERVAL_SECONDS="0.2",
            ARIES_PONG_TIMEOUT_SECONDS="0.2",
        )
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL")
            await simulator.inject(faults.NoPongs())
            await simulator.connected(2)
            assert bridge.feed.last_loss is not None
            assert bridge.feed.last_loss.cause == "pong_timeout"


async def test_an_expiring_session_is_renewed_on_the_open_socket(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """On the server's warning the bridge authenticates again, without a reconnect and without a gap."""
    async with Simulator(dialect="envelope") as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL")
            await simulator.inject(faults.Expire(warning_seconds=5))
            await simulator.authenticated(2)
            await simulator.quote("AAPL", bidPrice="3")
            await eventually(lambda: settled(bridge, simulator.sent.lines), "data goes on")
            assert not bridge.feed.reconnects
        found = await read(broker.bootstrap_servers, topic_prefix, Topic.QUOTES)
    assert len({one.record["session_id"] for one in found}) == 1


async def test_a_short_session_is_renewed_before_it_expires(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Without any warning the bridge authenticates again by 80 % of the session's life."""
    async with Simulator(dialect="envelope", expires_in_seconds=1.0, warning_seconds=0) as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.authenticated(3)
            assert not bridge.feed.reconnects


async def test_a_refused_symbol_costs_no_other_its_subscription(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Where the server refuses one symbol of a request, all the others are subscribed."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.RefuseSymbol(symbol="NOPE"))
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="A,B,C,NOPE,D,E,F")
        async with running(environ) as bridge:
            await simulator.subscribed("A", "B", "C", "D", "E", "F")
            await eventually(lambda: bridge.feed.session and bridge.feed.session.refused_symbols == {"NOPE"}, "refused")


async def test_without_acknowledgements_the_subscriptions_count_all_the_same(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """A server that never acknowledges is served as well: the first data says that it streams."""
    async with Simulator(dialect="action") as simulator:
        await simulator.inject(faults.NoAcks())
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL")
            await simulator.quote("AAPL", bidPrice="3")
            await eventually(lambda: bridge.feed.state == "streaming", "streaming")


async def test_refused_handshakes_are_retried_and_their_wish_for_time_is_kept(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """HTTP 429 and 503 lead to another attempt, not before Retry-After."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.Http(status=429, retry_after=1, times=1))
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL")
            assert bridge.feed.last_loss is not None
            assert bridge.feed.last_loss.cause == "throttled"
            assert bridge.feed.last_loss.retry_after_seconds == 1


async def test_a_token_file_is_read_anew_after_a_refusal(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """A token that somebody replaces in its file is used at the next attempt, for as long as that takes."""
    file = tmp_path / "token"
    file.write_text("stale-token\n")
    async with Simulator(dialect="envelope", tokens=["good-token"]) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        del environ["ARIES_ACCESS_TOKEN"]
        async with running({**environ, "ARIES_ACCESS_TOKEN_FILE": str(file)}) as bridge:
            await eventually(lambda: bridge.feed.reconnects.get(Cause.AUTH_REFUSED, 0) >= 4, "refused again and again")
            file.write_text("good-token\n")
            await simulator.subscribed("AAPL")


async def test_subscriptions_change_on_the_live_socket(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """A changed subscriptions file is applied by the difference, without a reconnect."""
    file = tmp_path / "subscriptions.json"
    file.write_text('[{"symbol":"AAPL"},{"symbol":"MSFT"}]')
    async with Simulator(dialect="envelope") as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        del environ["ARIES_SYMBOLS"]
        async with running({**environ, "ARIES_SUBSCRIPTIONS_FILE": str(file)}) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            file.write_text('[{"symbol":"AAPL"},{"symbol":"TSLA"}]')
            await simulator.subscribed("TSLA")
            await simulator.unsubscribed("MSFT")
            assert not bridge.feed.reconnects


async def test_a_refresh_token_is_exchanged_for_each_authentication_and_after_a_refusal(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """With a refresh token the bridge lives on through revoked tokens and expiring sessions."""
    tokens = Tokens()
    async with (
        TokenEndpoint(tokens=tokens) as endpoint,
        Simulator(dialect="envelope", tokens=tokens) as simulator,
    ):
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_TOKEN_URL=endpoint.url,
            ARIES_REFRESH_TOKEN="refresh-0",
            ARIES_CLIENT_ID="client",
            ARIES_CLIENT_SECRET="secret",
        )
        del environ["ARIES_ACCESS_TOKEN"]
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.inject(faults.Expire(warning_seconds=5))
            await simulator.authenticated(2)
            assert len(endpoint.issued) == 2
            assert not bridge.feed.reconnects
            await simulator.inject(faults.RefuseTokens(tokens=tuple(endpoint.issued)))
            await simulator.inject(faults.Drop())
            await simulator.connected(2)
            await simulator.authenticated(3)
            assert len(endpoint.issued) > 2


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
            assert first.plan.keys() | second.plan.keys() == set(symbols)
            assert not first.plan.keys() & second.plan.keys()
            await simulator.market_status("closed")
            await eventually(lambda: first.accounts.published[Topic.MARKET_STATUS] == 2, "shard 0's market status")
            await eventually(lambda: second.accounts.filtered["not_subscribed"] == 2, "shard 1's filter")
