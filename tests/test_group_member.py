"""What begins and ends in a bridge with each shard: sessions, records that wait, announcements, subscriptions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from bridge import group_member, settings
from bridge.app import Bridge
from bridge.aries.subscriptions.shards import shard_of
from bridge.errors import DisconnectCause
from bridge.group import shard_locks
from bridge.group.marks import Mark, MarkKind, decode, encode
from bridge.group.shard_locks import Cause, Claimed
from bridge.market_data import Update, UpdateKind
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import MARKET_DATA, SHARDS_TOPIC, Topic
from tests.support import consumer
from tests.support.service import by_symbol, control, environment, eventually, left_open, read, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from bridge.group_member import GroupMember
    from bridge.kafka.embedded_broker import EmbeddedBroker

SHARDS = 2
SYMBOLS = [f"S{number}" for number in range(8)]
OF = {shard: [symbol for symbol in SYMBOLS if shard_of(symbol, SHARDS) == shard] for shard in range(SHARDS)}
RELEASE, HOLD = MarkKind.RELEASE, MarkKind.HOLD


def former(kind: MarkKind, last_data_us: int | None = 5_000_000) -> Mark:
    return Mark(
        kind=kind, shard=0, shards=SHARDS, epoch=3, owner="b", process="pb", session_id=9, last_data_us=last_data_us
    )


def claimed(shard: int, cause: Cause = Cause.FIRST, mark: Mark | None = None) -> Claimed:
    return Claimed(shard, cause, mark, 9)


class Begun:
    """A bridge of a group with open queues, and no connection to anything."""

    def __init__(self, **more: str) -> None:
        self.bridge = Bridge(
            settings.load(
                {
                    "ARIES_ACCESS_TOKEN": "t",
                    "ARIES_SYMBOLS": ",".join(SYMBOLS),
                    "ARIES_EVENTS": "quotes,timesales",
                    "KAFKA_BOOTSTRAP_SERVERS": "k:1",
                    "BRIDGE_SHARD": "group",
                    "BRIDGE_SHARDS": str(SHARDS),
                    "BRIDGE_INSTANCE": "a",
                    **more,
                }
            )
        )
        names = self.bridge.settings.written_topics
        self.bridge.buffer.open(dict.fromkeys(names, 1))
        self.buffer, self.accounts = self.bridge.buffer, self.bridge.accounts

    @property
    def member(self) -> GroupMember:
        assert self.bridge.group is not None
        return self.bridge.group

    def start_session(self, session_id: int) -> None:
        """Let all shards that are claimed have a session, as after an authentication."""
        self.bridge.ingest.start_session(session_id)
        self.bridge.control.start_session(session_id)

    def ingest(self, symbols: Iterable[str], ingest_us: int = 1) -> None:
        """Read a quote and an execution of each symbol."""
        for symbol in symbols:
            for kind, name in ((UpdateKind.QUOTE, "bidPrice"), (UpdateKind.TIMESALE, "price")):
                self.bridge.ingest.ingest([(b"", Update(kind, symbol, {name: 1}, None))], ingest_us)
        assert self.accounts.balance == 0

    def acknowledge(self) -> None:
        """Let Kafka acknowledge everything that waits."""
        for queue in self.buffer.take_ready():
            self.buffer.start_batch(queue, len(queue.waiting), now=0)
            self.buffer.acknowledge(queue)

    async def waiting(self, *topics: Topic) -> list[dict[str, Any]]:
        """Return the records that wait, decoded."""
        decoder = Deserializer(schemas.load())
        return [
            (await decoder.decode(value)).record
            for queue in self.buffer.queues()
            if queue.topic in topics
            for _, _, value, _ in queue.waiting
        ]

    async def announced(self) -> list[dict[str, Any]]:
        return await self.waiting(Topic.CONTROL)


@pytest.mark.parametrize(
    ("cause", "mark", "reason", "gap_from_us"),
    [
        (Cause.FIRST, None, "first owner", None),
        (Cause.RELEASED, former(RELEASE), "released by b", 5_000_000),
        (Cause.EXPIRED, former(HOLD), "lease of b expired", 5_000_000),
        (Cause.RELEASED, former(RELEASE, last_data_us=None), "released by b", None),
    ],
)
async def test_a_claim_says_why_and_since_when_data_is_missing(
    cause: Cause, mark: Mark | None, reason: str, gap_from_us: int | None
) -> None:
    """There is a gap if the former owner had data; neither record has a session yet."""
    begun = Begun()
    begun.member.claim(claimed(0, cause, mark))
    first, *rest = await begun.announced()
    assert (first["kind"], first["shard"], first["session_id"]) == ("SHARD_CLAIMED", 0, None)
    assert (first["reason"], first["gap_from_us"]) == (reason, gap_from_us)
    expected = [] if gap_from_us is None else [("GAP", 0, None, gap_from_us, reason)]
    found = [(one["kind"], one["shard"], one["session_id"], one["gap_from_us"], one["reason"]) for one in rest]
    assert found == expected


async def test_the_symbols_of_a_claimed_shard_are_subscribed_to_and_published() -> None:
    """The plan has only those; the market status comes with its shard."""
    begun = Begun()
    assert (set(begun.bridge.plans.own), begun.member.standing_by.is_set()) == (set(), True)
    begun.member.claim(claimed(1))
    assert (set(begun.bridge.plans.own), begun.member.owning.is_set()) == (set(OF[1]), True)
    begun.start_session(100)
    begun.ingest(OF[1])
    assert {one["symbol"] for one in await begun.waiting(*MARKET_DATA)} == set(OF[1])
    status = Update(UpdateKind.MARKET_STATUS, "market", {"market": "open"}, None)
    begun.bridge.ingest.ingest([(b"", status)], 1)
    assert await begun.waiting(Topic.MARKET_STATUS) == []
    begun.member.claim(claimed(0))
    assert set(begun.bridge.plans.own) == set(SYMBOLS)
    begun.bridge.ingest.ingest([(b"", status)], 1)
    assert len(await begun.waiting(Topic.MARKET_STATUS)) == 1


async def test_a_lost_shard_leaves_nothing_behind() -> None:
    """Its records are dropped wherever they wait, and counted; those of another shard stay, and stay in order."""
    begun = Begun(BRIDGE_CONFLATE_MS="60000", BRIDGE_LATEST="true")
    for shard in range(SHARDS):
        begun.member.claim(claimed(shard))
    begun.start_session(100)
    for _ in range(3):
        begun.ingest(SYMBOLS)
    assert len(begun.bridge.ingest.conflation) == len(SYMBOLS)
    conflated = begun.accounts.conflated[Topic.QUOTES]
    begun.member.lose(0)
    assert begun.accounts.balance == 0
    assert begun.accounts.conflated[Topic.QUOTES] == conflated
    assert dict(begun.accounts.dropped) == {
        (Topic.QUOTES, "lease_lost"): 2 * len(OF[0]),  # the first one, and what the others were merged into
        (Topic.TIMESALES, "lease_lost"): 3 * len(OF[0]),
    }
    assert {one["symbol"] for one in await begun.waiting(*MARKET_DATA)} == set(OF[1])
    assert len(begun.bridge.ingest.conflation) == len(OF[1])
    assert begun.bridge.ingest.latest is not None
    for _ in begun.bridge.ingest.latest.release():
        pass
    keys = {key for queue in begun.buffer.queues() if queue.name.endswith(".latest") for _, key, _, _ in queue.waiting}
    assert keys == {symbol.encode() for symbol in OF[1]}
    released = (await begun.announced())[-1]
    assert (released["kind"], released["shard"], released["session_id"], released["reason"]) == (
        *("SHARD_RELEASED", 0, 100),
        "lease expired",
    )
    assert set(begun.bridge.plans.own) == set(OF[1])


async def test_a_shard_that_comes_back_begins_again_alone() -> None:
    """Its symbols have a new session and seq 0, after a gap; those of the other shard go on."""
    begun = Begun()
    for shard in range(SHARDS):
        begun.member.claim(claimed(shard))
    begun.start_session(100)
    begun.ingest(SYMBOLS)
    begun.member.lose(0)
    begun.ingest(SYMBOLS)
    begun.acknowledge()
    begun.member.claim(claimed(0, Cause.RELEASED, former(RELEASE)))
    begun.bridge.ingest.start_session(200, begun.member._includes(0))
    begun.bridge.control.start_session(200, [0])
    begun.ingest(SYMBOLS)
    quotes = {one["symbol"]: one for one in await begun.waiting(Topic.QUOTES)}
    assert {(quotes[symbol]["session_id"], quotes[symbol]["seq"], quotes[symbol]["after_gap"]) for symbol in OF[0]} == {
        (200, 0, True)
    }
    assert {(quotes[symbol]["session_id"], quotes[symbol]["seq"], quotes[symbol]["after_gap"]) for symbol in OF[1]} == {
        (100, 2, False)
    }


async def test_each_gap_that_was_announced_ends_once() -> None:
    """A shard that is claimed while the connection is lost has a gap of its own, which began with its former owner."""
    begun = Begun()
    client = begun.bridge.client
    begun.member.claim(claimed(0))
    begun.start_session(100)
    client._last_data_us = 7_000_000
    client._begin_gap(DisconnectCause.NETWORK, "lost")
    begun.member.claim(claimed(1, Cause.EXPIRED, former(HOLD)))
    begun.start_session(200)
    client._end_gap()
    resumed = [(one["shard"], one["gap_from_us"]) for one in await begun.announced() if one["kind"] == "RESUMED"]
    assert resumed == [(0, 7_000_000), (1, 5_000_000)]


async def test_a_connection_that_is_lost_before_a_claimed_shard_has_data() -> None:
    """Its gap goes on: it ends once, and began with the former owner."""
    begun = Begun()
    client = begun.bridge.client
    begun.member.claim(claimed(0))
    begun.start_session(100)
    begun.member.claim(claimed(1, Cause.EXPIRED, former(HOLD)))
    begun.bridge.control.start_session(200, [1])
    client._last_data_us = 7_000_000
    client._begin_gap(DisconnectCause.NETWORK, "lost")
    begun.start_session(300)
    client._end_gap()
    resumed = [(one["shard"], one["gap_from_us"]) for one in await begun.announced() if one["kind"] == "RESUMED"]
    assert resumed == [(0, 7_000_000), (1, 5_000_000)]


async def test_a_shard_without_a_former_owner_has_no_gap_to_end() -> None:
    """It was claimed while the connection was lost, and nothing of it was missed."""
    begun = Begun()
    client = begun.bridge.client
    begun.member.claim(claimed(0))
    begun.start_session(100)
    client._begin_gap(DisconnectCause.NETWORK, "lost")
    begun.member.claim(claimed(1))
    begun.start_session(200)
    client._end_gap()
    assert [one["shard"] for one in await begun.announced() if one["kind"] == "RESUMED"] == [0]


async def test_a_claim_right_after_the_last_release() -> None:
    """The client stands by for a moment, and does not forget meanwhile since when data of the new shard is missing."""
    begun = Begun()
    client = begun.bridge.client
    begun.member.claim(claimed(0, Cause.EXPIRED, former(HOLD)))
    client.stand_by()
    begun.start_session(100)
    client._end_gap()
    begun.member.lose(0)
    client._end_gap()
    assert [one["shard"] for one in await begun.announced() if one["kind"] == "RESUMED"] == [0]


async def test_a_release_waits_until_everything_is_published() -> None:
    """Nothing new of the shard is read; the release is announced behind the last acknowledgement, none is dropped."""
    begun = Begun(BRIDGE_CONFLATE_MS="60000")
    for shard in range(SHARDS):
        begun.member.claim(claimed(shard))
    begun.start_session(100)
    for _ in range(2):
        begun.ingest(SYMBOLS)
    release = asyncio.create_task(begun.member.release(0, Cause.CLAIMED, "b"))
    await eventually(lambda: not len(begun.bridge.ingest.conflation), "conflated records are queued")
    assert set(begun.bridge.plans.own) == set(OF[1])
    begun.ingest(SYMBOLS)
    assert "SHARD_RELEASED" not in [one["kind"] for one in await begun.announced()]
    published = await begun.waiting(Topic.TIMESALES)
    assert sum(one["symbol"] in OF[0] for one in published) == 2 * len(OF[0])
    begun.acknowledge()
    await eventually(lambda: begun.buffer.holds_any(Topic.CONTROL), "the announcement")
    [released] = await begun.announced()
    assert (released["kind"], released["reason"], released["session_id"]) == ("SHARD_RELEASED", "claimed by b", 100)
    begun.acknowledge()
    await release
    assert not begun.accounts.dropped
    assert begun.member.progress(0).session_id == 100


async def test_a_release_waits_for_latest_states_that_are_under_way() -> None:
    """They would be taken out of a batch that is not answered yet, and what waits behind it would never be sent."""
    begun = Begun(BRIDGE_LATEST="true")
    begun.member.claim(claimed(0))
    begun.start_session(100)
    begun.ingest(OF[0])
    begun.acknowledge()
    assert begun.bridge.ingest.latest is not None
    for _ in begun.bridge.ingest.latest.release():
        pass
    [under_way] = begun.buffer.take_ready()
    begun.buffer.start_batch(under_way, len(under_way.waiting), now=0)
    release = asyncio.create_task(begun.member.release(0, Cause.CLAIMED, "b"))
    await asyncio.wait([release], timeout=2 * group_member._POLL_SECONDS)
    assert not release.done()
    assert len(under_way.in_flight) == len(OF[0])
    assert "SHARD_RELEASED" not in [one["kind"] for one in await begun.announced()]
    begun.buffer.acknowledge(under_way)
    await eventually(lambda: begun.buffer.holds_any(Topic.CONTROL), "the announcement")
    begun.acknowledge()
    await release


async def test_a_release_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Kafka has not acknowledged in time is dropped, visibly, and cannot arrive any more."""
    monkeypatch.setattr(group_member, "MAX_DRAIN_SECONDS", 0.05)
    begun = Begun()
    begun.member.claim(claimed(0))
    begun.start_session(100)
    begun.ingest(OF[0])
    cut: list[str] = []
    monkeypatch.setattr(begun.bridge.publisher, "cut", cut.append)
    for queue in begun.buffer.take_ready():
        begun.buffer.start_batch(queue, len(queue.waiting), now=0)
    await begun.member.release(0, Cause.CLAIMED, "b")
    assert begun.accounts.dropped.total() == 2 * len(OF[0])
    assert {reason for _, reason in begun.accounts.dropped} == {"handed_over"}
    assert begun.accounts.balance == 0
    assert len(cut) == 1


async def test_what_a_stop_cannot_publish_is_undelivered() -> None:
    """As that of any bridge: the exit code says so. Nothing of the shard may follow, whoever waits for it."""
    begun = Begun(BRIDGE_DRAIN_SECONDS="0.1")
    begun.member.claim(claimed(0))
    begun.start_session(100)
    begun.ingest(OF[0])
    await begun.member.release(0, Cause.STOPPED, "")
    assert not begun.accounts.dropped
    assert begun.accounts.undelivered.total() == 2 * len(OF[0])
    assert begun.accounts.balance == 0
    assert await begun.waiting(*MARKET_DATA) == []
    assert begun.bridge.give_up() == 2 * len(OF[0])


async def test_a_shard_that_is_lost_while_it_is_released() -> None:
    """Its lease has ended before everything was published: the rest is dropped, and it is released once."""
    begun = Begun()
    begun.member.claim(claimed(0))
    begun.start_session(100)
    begun.ingest(OF[0])
    begun.acknowledge()
    begun.ingest(OF[0])
    release = asyncio.create_task(begun.member.release(0, Cause.CLAIMED, "b"))
    await asyncio.sleep(0)
    release.cancel()
    await asyncio.wait([release])
    begun.member.lose(0)
    begun.member.lose(0)
    kinds = [(one["kind"], one["reason"]) for one in await begun.announced()]
    assert kinds == [("SHARD_RELEASED", "lease expired")]
    assert {reason for _, reason in begun.accounts.dropped} == {"lease_lost"}
    assert begun.member.standing_by.is_set()


def has_data(bridge: Bridge) -> bool:
    """Return whether each symbol has had data in its session."""
    return all(bridge.ingest.streams(topic).keys() >= set(SYMBOLS) for topic in (Topic.QUOTES, Topic.TIMESALES))


class Other:
    """Another process of the group, as far as marks show it."""

    def __init__(self, broker: EmbeddedBroker, topic: str) -> None:
        self._broker, self._topic = broker, topic
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

    def marks(self, shard: int) -> list[Mark]:
        """Return all marks of a shard."""
        messages = consumer.read_all(self._broker.bootstrap_servers, [self._topic])
        marks = [decode(message.value) for message in messages if message.partition == shard]
        return [mark for mark in marks if mark is not None]

    def write(self, kind: MarkKind, shard: int, epoch: int, **more: int) -> None:
        """Write a mark."""
        mark = Mark(kind=kind, shard=shard, shards=SHARDS, epoch=epoch, owner="b", process="pb", **more)
        key, value = encode(mark)
        self._producer.produce(self._topic, value, key, shard)
        assert self._producer.flush(30) == 0


@asynccontextmanager
async def beside_another(
    broker: EmbeddedBroker, prefix: str
) -> AsyncIterator[tuple[Simulator, Bridge, GroupMember, Other]]:
    """Run the simulator and a bridge in a group of two shards, where another process may write marks."""
    topic = f"{prefix}.{SHARDS_TOPIC}"
    broker.create_topics([topic])
    other = Other(broker, topic)
    async with Simulator(rate=400, symbols=SYMBOLS) as simulator:
        environ = environment(
            *(simulator, broker.bootstrap_servers, prefix),
            ARIES_SYMBOLS=",".join(SYMBOLS),
            BRIDGE_SHARD="group",
            BRIDGE_SHARDS=str(SHARDS),
        )
        async with running(environ) as bridge:
            assert bridge.group is not None
            yield simulator, bridge, bridge.group, other


@pytest.mark.usefixtures("topics")
async def test_a_shard_moves_on_the_open_socket(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Another process takes a shard and gives it back: no reconnect, and the symbols of the other shard notice nothing.

    A connection that is lost later is a gap of both shards, each announced once.
    """
    async with beside_another(broker, topic_prefix) as (simulator, bridge, member, other):
        await eventually(lambda: member.shards == {0, 1} and bridge.client.state == "streaming", "both shards")
        await eventually(lambda: has_data(bridge), "data of all symbols")
        epoch = (await asyncio.to_thread(other.marks, 1))[-1].epoch
        other.write(MarkKind.CLAIM, 1, epoch + 1)
        await eventually(lambda: member.shards == {0}, "the shard is released")
        await simulator.unsubscribed(*OF[1])
        await eventually(lambda: 1 not in bridge.control.sessions, "its release is announced")
        future_us = 3_000_000_000_000_000
        other.write(RELEASE, 1, epoch + 1, session_id=future_us, last_data_us=future_us - 1)
        await eventually(lambda: member.shards == {0, 1}, "the shard is claimed again")
        await eventually(lambda: has_data(bridge), "data of all symbols")
        assert not bridge.client.reconnects
        await simulator.inject(faults.Drop())
        await eventually(lambda: bridge.client.reconnects, "the disconnect")
        await eventually(lambda: bridge.client.state == "streaming" and has_data(bridge), "data of all symbols")
    found = await read(broker.bootstrap_servers, topic_prefix)
    announced = defaultdict(list)
    for one in control(found):
        if one["kind"] not in ("HEARTBEAT", "SUBSCRIBED", "SESSION_COMPLETED"):
            announced[one["shard"]].append((one["kind"], one["session_id"]))
    first = announced[0][1][1]
    last = announced[0][3][1]
    moved = announced[1][5][1]
    assert first < moved < last
    assert moved > future_us
    assert announced[0] == [
        *[("SHARD_CLAIMED", None), ("SESSION_STARTED", first)],
        *[("GAP", first), ("SESSION_STARTED", last), ("RESUMED", last), ("SHARD_RELEASED", last)],
    ]
    assert announced[1] == [
        *[("SHARD_CLAIMED", None), ("SESSION_STARTED", first), ("SHARD_RELEASED", first)],
        *[("SHARD_CLAIMED", None), ("GAP", None), ("SESSION_STARTED", moved), ("RESUMED", moved)],
        *[("GAP", moved), ("SESSION_STARTED", last), ("RESUMED", last), ("SHARD_RELEASED", last)],
    ]
    for (of, symbol), records in by_symbol(found).items():
        if of in (Topic.QUOTES, Topic.TIMESALES):
            sessions = [first, last] if symbol in OF[0] else [first, moved, last]
            assert sorted({record["session_id"] for record in records}) == sessions
            for session in sessions:
                of_session = [record for record in records if record["session_id"] == session]
                assert [record["seq"] for record in of_session] == list(range(len(of_session)))
                assert [record["after_gap"] for record in of_session] == [True] + [False] * (len(of_session) - 1)


@pytest.mark.usefixtures("topics")
async def test_handovers_leak_nothing(
    broker: EmbeddedBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither tasks nor open files grow with the number of times that a process begins and ends with its shards."""
    monkeypatch.setattr(shard_locks, "CLAIM_AGAIN_SECONDS", 0.05)
    async with beside_another(broker, topic_prefix) as (_, bridge, member, other):

        async def take_turns(times: int) -> None:
            locks = member.ownership.locks
            for _ in range(times):
                await eventually(lambda: member.shards == {0, 1} and has_data(bridge), "both shards")
                epochs = {shard: (locks.epoch(shard) or 0) + 1 for shard in range(SHARDS)}
                for shard, epoch in epochs.items():
                    other.write(MarkKind.CLAIM, shard, epoch)
                await eventually(lambda: not locks.owned(), "both are released")
                for shard, epoch in epochs.items():
                    other.write(RELEASE, shard, epoch)
            await eventually(lambda: member.shards == {0, 1} and has_data(bridge), "both shards")

        await take_turns(3)
        before = left_open()
        await take_turns(20)
        # A request or a connection more than in that moment; far fewer than one for each time.
        await eventually(lambda: left_open() < before + 10, "hardly more than before")
