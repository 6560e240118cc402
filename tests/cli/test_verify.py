"""``aries-bridge verify`` on topics that a real bridge has written, unchanged and damaged."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from bridge.kafka.partitioner import partition
from bridge.settings.kafka_side import kafka_settings
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from bridge.verify.topic_reader import Selection
from bridge.verify.verification import Verification
from bridge.verify.violations import Violation, ViolationKind
from tests.consumer.records import SERIALIZER
from tests.faults.proof import verified
from tests.support.background import in_background
from tests.support.brokers import unique
from tests.support.process import process
from tests.support.service import environment, eventually, running
from tests.verify.republishing import copied
from tests.verify.shard_group import Process, ShardGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.simulator.server_dialect import DialectChoice
    from bridge.verify.report import Report
    from tests.support.consumer import Message

    Change = Callable[[list[Message]], list[Message]]

AAPL_PARTITION = partition(b"AAPL", 4)


@asynccontextmanager
async def bridging(
    broker: EmbeddedBroker, prefix: str, dialect: DialectChoice = "envelope", **more: str
) -> AsyncIterator[tuple[Simulator, Bridge]]:
    """Run a bridge that publishes two symbols to new topics; at the end all lines are accounted for."""
    broker.create_topics(f"{prefix}.{topic}" for topic in Topic)
    async with Simulator(dialect=dialect, lines_per_frame=3, seed=5) as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, prefix, **more)) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: bridge.client.state == "streaming", "streaming")
            yield simulator, bridge
            await settled(simulator, bridge)


async def settled(simulator: Simulator, bridge: Bridge) -> None:
    """Wait until everything that was sent is read."""
    await eventually(lambda: bridge.accounts.lines_received >= simulator.sent.lines, "all lines read")


@pytest.fixture(scope="module")
def written(broker: EmbeddedBroker) -> str:
    """Return the prefix of topics that a bridge has written: two sessions, a dead letter, a graceful end."""
    prefix = unique("written")
    asyncio.run(write(broker, prefix))
    return prefix


async def write(broker: EmbeddedBroker, prefix: str) -> None:
    async with bridging(broker, prefix) as (simulator, bridge):
        await simulator.emit(300)
        await simulator.send_line(b'{"type":"event","payload":{')
        await settled(simulator, bridge)
        await simulator.inject(faults.Drop())
        await simulator.connected(2)
        await simulator.subscribed("AAPL", "MSFT")
        await eventually(lambda: bridge.client.state == "streaming", "streaming again")
        await simulator.emit(300)


async def damaged(broker: EmbeddedBroker, written: str, topic: Topic, change: Change) -> Report:
    """Return the report on a copy of what the bridge wrote, with one topic changed."""
    copy = unique("damaged")
    await copied(broker, written, copy, topic, change)
    return await verified(broker.bootstrap_servers, copy)


def of_aapl(messages: list[Message], place: int) -> Message:
    return [message for message in messages if message.key == b"AAPL"][place]


def first_violation(report: Report, kind: ViolationKind, topic: Topic) -> Violation:
    """Return the first violation of a kind on a topic."""
    return next(finding for finding in report.violations if (finding.kind, finding.topic) == (kind, topic))


class TestWhatTheBridgeWrites:
    async def test_passes(self, broker: EmbeddedBroker, written: str) -> None:
        """Two sessions with a dead letter between them are proven, and counted."""
        report = await verified(broker.bootstrap_servers, written)

        assert report.violations == []
        assert report.verdict.startswith(f"PROVEN: {report.records:,} records, ")
        assert report.dead_letters == 1
        assert {row.sessions for row in report.rows if row.records and not row.topic.endswith("greeks")} == {2}
        assert {row.symbols for row in report.rows if row.topic.endswith(("quotes", "trades"))} == {2}

    async def test_passes_as_a_copy(self, broker: EmbeddedBroker, written: str) -> None:
        """An unchanged copy has no violation, so those found below are the damage."""
        report = await damaged(broker, written, Topic.DLQ, list)

        assert report.violations == []
        assert report.records

    async def test_passes_when_overloaded(self, broker: EmbeddedBroker) -> None:
        """Records dropped and merged because the buffer is full are explained by after_gap and the accounts."""
        prefix = unique("overload")
        async with bridging(broker, prefix, BRIDGE_BUFFER_BYTES="8192") as (simulator, bridge):
            await simulator.emit(2_000)
            await eventually(lambda: not bridge.ingest.overload.active, "the overload's end")
            await simulator.emit(20)
        assert bridge.accounts.dropped
        assert bridge.accounts.conflated

        report = await verified(broker.bootstrap_servers, prefix)

        assert report.violations == []
        assert sum(row.jumps_explained for row in report.rows) > 0

    async def test_passes_with_lines_dead_lettered_amid_others(self, broker: EmbeddedBroker) -> None:
        """A jump at a dead-lettered line is explained by the dead letter, without any other account."""
        prefix, copy = unique("lettered"), unique("copy")
        async with bridging(broker, prefix) as (simulator, bridge):
            for number in range(9):
                price = "?" if number % 4 == 3 else f"{number}.5"
                await simulator.trade("AAPL", lastPrice=price)
                await simulator.quote("AAPL", bidPrice=price)
        assert dict(bridge.accounts.dead_lettered) == {"bad_field": 4}

        report = await verified(broker.bootstrap_servers, prefix)

        assert report.violations == []
        assert [row.jumps_explained for row in report.rows if row.records > 1] == [2, 2]
        await copied(broker, prefix, copy, Topic.DLQ, lambda letters: letters[:1])
        found = (await verified(broker.bootstrap_servers, copy)).violations
        assert {violation.kind for violation in found} == {ViolationKind.ACCOUNTS}

    async def test_passes_with_a_flood_of_bad_lines(self, broker: EmbeddedBroker) -> None:
        """Jumps of lines beyond the rate limit of dead letters are explained by the accounts, and by exactly these."""
        prefix, lines = unique("flooded"), 4_000
        composite = b'{"type":"equityComposite","data":{"symbol":"AAPL","bidPrice":"?","lastPrice":"?"}}'
        async with bridging(broker, prefix, dialect="action") as (simulator, bridge):
            await simulator.quote("AAPL", bidPrice="1")
            await simulator.trade("AAPL", lastPrice="1")
            await simulator.send_frame(b"\n".join([composite] * lines))
            await simulator.quote("AAPL", bidPrice="2")
            await simulator.trade("AAPL", lastPrice="2")
        dropped, letters = bridge.accounts.dropped[Topic.DLQ, "rate_limit"], bridge.accounts.dead_lettered["bad_field"]
        assert dropped == 2 * (lines - letters) > 0

        report = await verified(broker.bootstrap_servers, prefix)

        assert report.violations == []
        assert report.dead_letters == letters
        assert [row.jumps_explained for row in report.rows if row.records > 1] == [1, 1]

    async def test_passes_when_conflating(self, broker: EmbeddedBroker) -> None:
        """Quotes merged by configuration are explained by the account of conflated ones, and by exactly that."""
        prefix, copy = unique("conflated"), unique("copy")
        async with bridging(broker, prefix, BRIDGE_CONFLATE_MS="5") as (simulator, bridge):
            await simulator.emit(1_000)
        assert bridge.accounts.conflated

        assert (await verified(broker.bootstrap_servers, prefix)).violations == []
        await copied(broker, prefix, copy, Topic.QUOTES, lambda messages: messages[:1] + messages[2:])
        found = (await verified(broker.bootstrap_servers, copy)).violations
        assert {violation.kind for violation in found} == {ViolationKind.ACCOUNTS}


class TestDamage:
    async def test_a_hole(self, broker: EmbeddedBroker, written: str) -> None:
        """One record cut out is found with its place, and again by the accounts."""
        gone: list[Message] = []

        def cut(messages: list[Message]) -> list[Message]:
            gone.append(of_aapl(messages, 10))
            return [message for message in messages if message is not gone[0]]

        report = await damaged(broker, written, Topic.TRADES, cut)

        hole = first_violation(report, ViolationKind.HOLE, Topic.TRADES)
        assert hole.symbol == "AAPL"
        assert "seq 11 comes after 9: 1 record is missing (seq 10)" in hole.message
        assert hole.place is not None
        assert (hole.place.partition, hole.place.offset) == (AAPL_PARTITION, gone[0].offset)
        assert "published" in first_violation(report, ViolationKind.ACCOUNTS, Topic.CONTROL).message
        assert report.violations_total == 2
        assert not report.proven

    async def test_a_hole_among_quotes(self, broker: EmbeddedBroker, written: str) -> None:
        """Quotes may be merged, but the accounts say that none was."""
        report = await damaged(
            broker, written, Topic.QUOTES, lambda messages: [one for one in messages if one != of_aapl(messages, 5)]
        )

        assert "count no conflated records" in first_violation(report, ViolationKind.HOLE, Topic.QUOTES).message

    async def test_a_swapped_pair(self, broker: EmbeddedBroker, written: str) -> None:
        """A record that comes after its successor is found, and no other."""

        def swap(messages: list[Message]) -> list[Message]:
            first, second = (messages.index(of_aapl(messages, place)) for place in (7, 8))
            messages[first], messages[second] = messages[second], messages[first]
            return messages

        report = await damaged(broker, written, Topic.TIMESALES, swap)

        assert "seq 7 comes after seq 8" in first_violation(report, ViolationKind.OUT_OF_ORDER, Topic.TIMESALES).message
        assert report.violations_total == 1

    async def test_a_duplicate(self, broker: EmbeddedBroker, written: str) -> None:
        """A record that comes again is found, as the bridge has not replaced its producer."""

        def twice(messages: list[Message]) -> list[Message]:
            place = messages.index(of_aapl(messages, 4))
            return [*messages[: place + 1], *messages[place:]]

        report = await damaged(broker, written, Topic.L2, twice)

        repeat = first_violation(report, ViolationKind.REPEAT, Topic.L2)
        assert "1 record comes again, from seq 4 on; but the bridge" in repeat.message
        assert report.violations_total == 1

    async def test_a_foreign_record(self, broker: EmbeddedBroker, written: str) -> None:
        """Any value that is not a record of the topic is found."""
        foreign = [b"hello", None, b"\xc3\x01" + bytes(20)]

        def add(messages: list[Message]) -> list[Message]:
            return messages + [replace(messages[-1], key=b"AAPL", value=value) for value in foreign]

        for topic in (Topic.TRADES, Topic.CONTROL, Topic.DLQ):
            report = await damaged(broker, written, topic, add)
            assert [(finding.kind, finding.topic) for finding in report.violations] == [
                (ViolationKind.UNDECODABLE, topic)
            ] * 3

    async def test_a_record_of_another_topic(self, broker: EmbeddedBroker, written: str) -> None:
        """A trade on the topic of quotes is found."""
        trades: list[Message] = []

        def keep(messages: list[Message]) -> list[Message]:
            trades.extend(messages[:1])
            return messages

        await damaged(broker, written, Topic.TRADES, keep)
        report = await damaged(broker, written, Topic.QUOTES, lambda messages: messages + trades)

        assert "is a aries.marketdata.Trade, not a aries.marketdata.Quote" in report.violations[0].message

    @pytest.mark.parametrize("topic", [Topic.TRADES, Topic.CONTROL, Topic.DLQ])
    async def test_a_wrong_key(self, topic: Topic, broker: EmbeddedBroker, written: str) -> None:
        """A key that violates the contract is found."""
        report = await damaged(
            broker, written, topic, lambda messages: [replace(messages[0], key=b"another"), *messages[1:]]
        )

        assert ViolationKind.KEY in {violation.kind for violation in report.violations}

    async def test_a_wrong_partition(self, broker: EmbeddedBroker, written: str) -> None:
        """A record on another partition than its key's is found."""
        other = (AAPL_PARTITION + 1) % 4

        def move(messages: list[Message]) -> list[Message]:
            moved = of_aapl(messages, 3)
            return [replace(one, partition=other) if one is moved else one for one in messages]

        report = await damaged(broker, written, Topic.TRADES, move)

        misplaced = first_violation(report, ViolationKind.PARTITION, Topic.TRADES)
        assert misplaced.place is not None
        assert misplaced.place.partition == other
        assert f"belongs to partition {AAPL_PARTITION} of 4" in misplaced.message

    async def test_a_wrong_timestamp(self, broker: EmbeddedBroker, written: str) -> None:
        """A Kafka timestamp that is not the ingest time is found."""
        report = await damaged(
            broker,
            written,
            Topic.L2,
            lambda messages: [replace(messages[0], timestamp_ms=messages[0].timestamp_ms + 1), *messages[1:]],
        )

        assert [violation.kind for violation in report.violations] == [ViolationKind.TIMESTAMP]

    async def test_broken_accounts(self, broker: EmbeddedBroker, written: str) -> None:
        """Dead letters and records that control counts, but that the topics do not have, are found."""
        report = await damaged(broker, written, Topic.DLQ, lambda _: [])
        assert "1 lines were dead-lettered" in first_violation(report, ViolationKind.ACCOUNTS, Topic.CONTROL).message

        report = await damaged(broker, written, Topic.TRADES, lambda messages: messages[:-1])
        assert "published" in first_violation(report, ViolationKind.ACCOUNTS, Topic.CONTROL).message


class TestSelection:
    async def test_of_topics(self, broker: EmbeddedBroker, written: str) -> None:
        """Named topics are read, and no others; the accounts of all topics are not compared with them."""
        report = await verified(broker.bootstrap_servers, written, Selection(("quotes", f"{written}.l2")))

        assert [row.topic for row in report.rows] == [f"{written}.quotes", f"{written}.l2"]
        assert report.violations == []

    async def test_of_a_session_or_a_time(self, broker: EmbeddedBroker, written: str) -> None:
        """A single session, or records since a time, can be verified without a violation."""
        whole = await verified(broker.bootstrap_servers, written)
        (first, second) = sorted(await sessions(broker, written))
        one = await verified(broker.bootstrap_servers, written, Selection(session_id=first))
        other = await verified(broker.bootstrap_servers, written, Selection(session_id=second))
        later = await verified(broker.bootstrap_servers, written, Selection(since_us=second))

        assert one.violations == other.violations == later.violations == []
        assert one.records + other.records == whole.records
        assert other.records
        assert later.records

    async def test_until_a_time(self, broker: EmbeddedBroker, written: str) -> None:
        """What was written before a time is verified, without a violation for what comes later."""
        whole = await verified(broker.bootstrap_servers, written)
        second = max(await sessions(broker, written))
        until = await verified(broker.bootstrap_servers, written, Selection(until_us=second))
        between = await verified(broker.bootstrap_servers, written, Selection(since_us=second, until_us=second + 1_000))

        assert until.violations == between.violations == []
        assert 0 < until.records < whole.records
        assert between.records < until.records


async def sessions(broker: EmbeddedBroker, prefix: str) -> set[int]:
    settings = kafka_settings(broker.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": prefix})
    verification = Verification(settings, Selection())
    await verification.run()
    assert verification.checker is not None
    return set(verification.checker.observations.sessions)


class TestFollowing:
    async def test_findings_come_at_once(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """While the bridge writes there is no violation; a foreign record is found at once."""
        settings = kafka_settings(broker.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})
        found: list[Violation] = []
        verification = Verification(settings, Selection(), follow=True, on_violation=found.append)
        async with in_background(verification.run()):
            async with bridging(broker, topic_prefix) as (simulator, bridge):
                await eventually(lambda: verification.checker is not None, "the first round")
                await simulator.emit(200)
                await settled(simulator, bridge)
                published = bridge.accounts.published.total()
                await eventually(lambda: _records(verification) >= published, "all records are checked")
            assert found == []
            async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
                await producer.send_and_wait(f"{topic_prefix}.trades", b"hello", key=b"AAPL", partition=0)
            await eventually(lambda: found, "the violation")

        report = verification.close()
        assert report is not None
        assert [violation.kind for violation in report.violations] == [ViolationKind.UNDECODABLE]


def _records(verification: Verification) -> int:
    assert verification.checker is not None
    return sum(one.records for one in verification.checker.partitions)


class TestTheProcess:
    async def test_a_clean_topic_ends_with_0(self, broker: EmbeddedBroker, written: str) -> None:
        """The output is a table and a verdict; nothing is written to standard error."""
        async with process(of(broker, written), "verify") as command:
            assert await command.ended() == 0

        lines = command.output.splitlines()
        headings = "topic records symbols sessions explained holes repeats redriven order other"
        assert " ".join(lines[0].split()) == headings
        assert lines[-1].startswith("PROVEN: ")
        assert command.text == []

    async def test_a_finding_ends_with_1(self, broker: EmbeddedBroker, written: str) -> None:
        """Violations are written before the verdict; as JSON everything is one object."""
        copy = unique("damaged")
        await copied(broker, written, copy, Topic.TRADES, lambda messages: messages[:3] + messages[4:])

        async with process(of(broker, copy), "verify") as command:
            assert await command.ended() == 1
        assert command.output.startswith(f"hole: {copy}.trades partition ")
        assert command.output.splitlines()[-1] == "NOT PROVEN: 2 violations."

        async with process(of(broker, copy), "verify", "--json") as command:
            assert await command.ended() == 1
        report: dict[str, Any] = json.loads(command.output)
        assert (report["proven"], report["findings_total"]) == (False, 2)
        assert {finding["kind"] for finding in report["findings"]} == {"hole", "accounts"}
        assert report["findings"][0]["place"]["topic"] == f"{copy}.trades"

    async def test_following_ends_with_a_signal(self, broker: EmbeddedBroker, written: str) -> None:
        """Ctrl-C ends --follow with the report on all that was read."""
        async with process(of(broker, written), "verify", "--follow", "--json") as command:
            await eventually(lambda: any("following new records" in line for line in command.text), "the first round")
            command.signal(signal.SIGINT)
            assert await command.ended() == 0

        assert json.loads(command.output)["proven"] is True

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (("--since", "yesterday"), 2, "is not a time"),
            (("--since", "1h", "--until", "2h"), 2, "is not after"),
            (("--until", "1h", "--follow"), 2, "leave one out"),
            (("nothing",), 1, "Kafka has no topic nothing"),
            (("-b", ""), 2, "problem"),
        ],
    )
    async def test_invalid_options_and_missing_topics_are_reported(
        self, arguments: tuple[str, ...], code: int, words: str, broker: EmbeddedBroker, written: str
    ) -> None:
        """Invalid options end with 2, missing topics with 1 and a hint."""
        async with process(of(broker, written), "verify", *arguments) as command:
            assert await command.ended() == code

        assert words in " ".join("".join(command.text).replace("│", "").split())

    async def test_a_full_disk_is_one_sentence(self, broker: EmbeddedBroker, written: str) -> None:
        """Output that cannot be written ends it with 1 and a message without a traceback."""
        redirect = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
        async with process(of(broker, written), "verify", sabotage=redirect) as command:
            assert await command.ended() == 1

        assert command.text == ["aries-bridge: the output cannot be written: No space left on device.\n"]

    async def test_a_closed_pipe_ends_following(self, broker: EmbeddedBroker, written: str) -> None:
        """It ends without a message when its output is not read any more, though nothing is written."""
        async with process(of(broker, written), "verify", "--follow") as command:
            await eventually(lambda: any("following new records" in line for line in command.text), "the first round")
            noted = len(command.text)
            command.close_output()
            assert await command.ended() == 1

        assert command.text[noted:] == []

    async def test_handovers_of_shards_are_shown(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """Late records of a former owner are in the verdict, and a violation with --strict."""
        group = ShardGroup()
        group.claim(Process("a"), 0)
        group.publish(0)
        in_flight = group.read(group.owner(0), 0)
        group.expire(0)
        group.claim(Process("b"), 0)
        group.publish(0)
        for record in in_flight:
            group.write(*record)
        await write_all(broker, topic_prefix, group)

        async with process(of(broker, topic_prefix), "verify") as command:
            assert await command.ended() == 0
        *_, handovers, verdict = command.output.splitlines()
        assert handovers == "hand-overs of shards: 0 after a release, 1 after a lease expired; longest gap 5.0 s"
        assert verdict.endswith("no repeats; 4 late, the last of former owners whose lease had expired.")
        async with process(of(broker, topic_prefix), "verify", "--strict") as command:
            assert await command.ended() == 1
        assert "No late record of a former owner is accepted (--strict)" in command.output


async def write_all(broker: EmbeddedBroker, prefix: str, group: ShardGroup) -> None:
    """Write the records of a group of bridges to new topics."""
    broker.create_topics(f"{prefix}.{topic}" for topic in Topic)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for topic, record in group.written:
            key, time = ("instance", "time_us") if topic is Topic.CONTROL else ("symbol", "ingest_time_us")
            name, text, at_us = f"{prefix}.{topic}", str(record[key]), int(str(record[time]))
            count = len(await producer.partitions_for(name))
            value, place = SERIALIZER.encode(topic, record), partition(text.encode(), count)
            await producer.send_and_wait(name, value, key=text.encode(), partition=place, timestamp_ms=at_us // 1000)


def of(broker: EmbeddedBroker, prefix: str) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "KAFKA_TOPIC_PREFIX": prefix, "COLUMNS": "200"}
