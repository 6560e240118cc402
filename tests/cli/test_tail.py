"""``aries-bridge tail`` prints the records of topics, decoded, until it is stopped."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from bridge.cli.tail import Printing
from bridge.cli.undecodable import NothingDecodable
from bridge.clock import wall_us
from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.kafka.tail import Selection
from bridge.serialization import schemas
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.formatting import json_line, text_line
from bridge.serialization.serializer import Serializer, confluent_prefix, single_object_prefixes
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import Topic
from tests.support.background import in_background
from tests.support.fake_registry import FakeRegistry
from tests.support.printed import print_records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.serialization.schemas import AvroRecord
    from bridge.settings import Settings
    from tests.support.brokers import RealKafka

SCHEMAS = schemas.load()
NOWHERE = "127.0.0.1:1"
FIRST_US = 1_701_450_000_000_000


def quote(symbol: str, seq: int, price: str = "187.25") -> AvroRecord:
    return {
        "symbol": symbol,
        "ingest_time_us": FIRST_US + seq * 1000,
        "session_id": FIRST_US,
        "seq": seq,
        "after_gap": False,
        "bid_price": DecimalEncoder().price(price),
    }


class Writer:
    """A producer that writes records as the bridge does, but all to one partition."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str, serializer: Serializer) -> None:
        self._producer = producer
        self._prefix = prefix
        self._serializer = serializer

    async def quote(self, symbol: str, seq: int, price: str = "187.25") -> None:
        await self.write(Topic.QUOTES, symbol, quote(symbol, seq, price), FIRST_US // 1000 + seq)

    async def write(self, topic: Topic, key: str, record: AvroRecord, timestamp_ms: int = FIRST_US // 1000) -> None:
        await self.raw(topic, key, self._serializer.encode(topic, record), timestamp_ms)

    async def raw(self, topic: Topic, key: str, value: bytes | None, timestamp_ms: int = FIRST_US // 1000) -> None:
        name = f"{self._prefix}.{topic}"
        await self._producer.send_and_wait(name, value, key.encode(), partition=1, timestamp_ms=timestamp_ms)


@asynccontextmanager
async def writing(
    bootstrap_servers: str, prefix: str, prefixes: Mapping[Topic, bytes] | None = None
) -> AsyncIterator[Writer]:
    serializer = Serializer(SCHEMAS, prefixes or single_object_prefixes(SCHEMAS))
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        yield Writer(producer, prefix, serializer)


@pytest.fixture
async def writer(broker: EmbeddedBroker, topic_prefix: str) -> AsyncIterator[Writer]:
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with writing(broker.bootstrap_servers, topic_prefix) as ready:
        yield ready


@pytest.fixture
def settings(broker: EmbeddedBroker, topic_prefix: str) -> Settings:
    return kafka_settings(broker.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})


def all_of(*topics: str, **more: Any) -> Selection:
    return Selection(topics, from_beginning=True, **more)


class TestRecords:
    async def test_topics_by_short_and_full_name(
        self, settings: Settings, writer: Writer, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Only the named topics are shown, from their beginning, the records of one fetch by time."""
        await writer.quote("AAPL", 0)
        await writer.write(
            Topic.TIMESALES, "MSFT", quote("MSFT", 2) | {"price": DecimalEncoder().price("410.5")}, FIRST_US // 1000 + 2
        )
        await writer.quote("MSFT", 1, "410.000000001")
        await writer.write(Topic.TRADES, "AAPL", quote("AAPL", 0))

        await print_records(settings, all_of("quotes", f"{topic_prefix}.timesales", "quotes", count=3), text_line)

        lines = sorted(capsys.readouterr().out.splitlines())
        assert [line.split()[:4] for line in lines] == [
            ["17:00:00.000", f"{topic_prefix}.quotes", "AAPL", "bid_price=187.25"],
            ["17:00:00.001", f"{topic_prefix}.quotes", "MSFT", "bid_price=410.000000001"],
            ["17:00:00.002", f"{topic_prefix}.timesales", "MSFT", "price=410.5"],
        ]

    async def test_all_topics_that_exist_by_default(
        self, broker: EmbeddedBroker, topic_prefix: str, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without a name the bridge's existing topics are shown; the others are not created."""
        broker.create_topics([f"{topic_prefix}.quotes", f"{topic_prefix}.market-status"])
        async with writing(broker.bootstrap_servers, topic_prefix) as writer:
            await writer.quote("AAPL", 0)
            await writer.write(Topic.MARKET_STATUS, "market", quote("market", 0) | {"market": "open"})

        await print_records(settings, all_of(count=2), json_line)

        shown = [json.loads(line)["schema"] for line in capsys.readouterr().out.splitlines()]
        assert sorted(shown) == ["aries.marketdata.MarketStatus", "aries.marketdata.Quote"]
        assert await topics_of(broker, topic_prefix) == {f"{topic_prefix}.quotes", f"{topic_prefix}.market-status"}

    async def test_a_partition_keeps_its_order(
        self, settings: Settings, writer: Writer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Records of one symbol are shown in their order, even if their timestamps go back."""
        for seq in (5, 3, 4, 0):
            await writer.quote("AAPL", seq)

        await print_records(settings, all_of("quotes", count=4), json_line)

        assert [json.loads(line)["record"]["seq"] for line in capsys.readouterr().out.splitlines()] == [5, 3, 4, 0]

    async def test_only_selected_symbols(
        self, settings: Settings, writer: Writer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Records with other keys are not decoded."""
        await writer.quote("AAPL", 0)
        await writer.raw(Topic.QUOTES, "MSFT", b"junk")
        await writer.quote("SPX", 1)

        await print_records(settings, all_of("quotes", keys=frozenset({b"AAPL", b"SPX"}), count=2), json_line)

        out, err = capsys.readouterr()
        assert [json.loads(line)["key"] for line in out.splitlines()] == ["AAPL", "SPX"]
        assert " offset " not in err

    async def test_undecodable_records_are_reported_and_skipped(
        self, settings: Settings, writer: Writer, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A value that is not a record is reported on standard error with its offset, and not counted."""
        await writer.raw(Topic.QUOTES, "AAPL", b"junk")
        await writer.raw(Topic.QUOTES, "AAPL", None)
        await writer.quote("AAPL", 0)

        await print_records(settings, all_of("quotes", count=1), json_line)

        out, err = capsys.readouterr()
        place = json.loads(out)
        reported = [line for line in err.splitlines() if " offset " in line]
        assert place["offset"] == 2
        assert reported[0].startswith(
            f"aries-bridge: {topic_prefix}.quotes partition {place['partition']} offset 0: the value"
        )
        assert reported[1].endswith("offset 1: the value is empty")

    async def test_each_cause_is_reported_once_and_counted(
        self, settings: Settings, writer: Writer, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Of many values that cannot be decoded the first of each cause is shown, and at the end their number."""
        for number in range(20):
            await writer.raw(Topic.QUOTES, "AAPL", b"junk%d" % number)
            await writer.raw(Topic.QUOTES, "AAPL", b"\xc3\x01" + bytes([number] * 8))
        await writer.raw(Topic.TRADES, "AAPL", None)
        await writer.quote("AAPL", 0)

        await print_records(settings, all_of("quotes", "trades", timeout_seconds=1), json_line)

        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 1
        assert len([line for line in err.splitlines() if " offset " in line]) == 3
        assert err.splitlines()[-1] == (
            f"aries-bridge: 41 records could not be decoded: 20 in another format ({topic_prefix}.quotes), "
            f"20 of an unknown schema ({topic_prefix}.quotes), 1 empty ({topic_prefix}.trades)."
        )

    @pytest.mark.parametrize("more", [{"count": 5}, {}, {"timeout_seconds": 0.3}])
    async def test_nothing_but_undecodable_records_is_an_error(
        self, more: dict[str, Any], settings: Settings, writer: Writer, topic_prefix: str
    ) -> None:
        """If none of the records that a topic holds can be decoded, it ends and says so."""
        for _ in range(3):
            await writer.raw(Topic.QUOTES, "AAPL", b"junk")

        message = rf"none of the records could be decoded: 3 in another format \({topic_prefix}\.quotes\)\. "
        with pytest.raises(NothingDecodable, match=message):
            await print_records(settings, all_of("quotes", **more), json_line)

    async def test_undecodable_records_do_not_end_following(self, settings: Settings, writer: Writer) -> None:
        """Who follows what comes goes on after a record that cannot be decoded."""
        printing = Printing(settings, Selection(("quotes",), count=1), json_line)
        async with asyncio.TaskGroup() as group:
            group.create_task(printing.run())
            while not printing._undecodable:
                await writer.raw(Topic.QUOTES, "AAPL", b"junk")
            await writer.quote("AAPL", 1)
        assert printing._printed == 1

    async def test_confluent_values_are_decoded_by_the_registry(
        self, broker: EmbeddedBroker, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With SCHEMA_REGISTRY_URL set, ids are looked up there; single-object values are decoded, too."""
        broker.create_topics([f"{topic_prefix}.quotes"])
        async with FakeRegistry().serving() as registry:
            schema_id = registry.add("any", SCHEMAS[Topic.QUOTES].text)
            prefixes = {Topic.QUOTES: confluent_prefix(schema_id)}
            async with writing(broker.bootstrap_servers, topic_prefix, prefixes) as framed:
                await framed.quote("AAPL", 0, "0.000000001")
            async with writing(broker.bootstrap_servers, topic_prefix) as plain:
                await plain.quote("AAPL", 1)
            environ = {"KAFKA_TOPIC_PREFIX": topic_prefix, "SCHEMA_REGISTRY_URL": registry.url}

            await print_records(kafka_settings(broker.bootstrap_servers, environ), all_of(count=2), json_line)

        shown = [json.loads(line)["record"]["bid_price"] for line in capsys.readouterr().out.splitlines()]
        assert shown == ["0.000000001", "187.25"]


class TestTimes:
    async def test_since_and_until(
        self, settings: Settings, writer: Writer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Records from a time on and before another are shown, by their timestamps; then it ends."""
        for seq in range(6):
            await writer.quote("AAPL", seq)
        selection = Selection(("quotes",), since_us=FIRST_US + 2_000, until_us=FIRST_US + 4_000)

        await print_records(settings, selection, json_line)

        assert shown_seqs(capsys) == [2, 3]

    async def test_on_real_kafka(self, kafka: RealKafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Only the records between are fetched; a topic without later ones ends, too."""
        kafka.create_topic(f"{topic_prefix}.quotes")
        async with writing(kafka.bootstrap_servers, topic_prefix) as writer:
            for seq in range(6):
                await writer.quote("AAPL", seq)
        settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})
        for since, until, expected in ((2, 4, [2, 3]), (0, 1, [0]), (4, 900, [4, 5]), (700, 900, [])):
            selection = Selection(since_us=FIRST_US + since * 1000, until_us=FIRST_US + until * 1000)
            await print_records(settings, selection, json_line)
            assert shown_seqs(capsys) == expected

    async def test_until_a_time_to_come(
        self, settings: Settings, writer: Writer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It follows until then."""
        await writer.quote("AAPL", 0)
        await print_records(settings, all_of("quotes", until_us=wall_us() + 300_000), json_line)

        assert shown_seqs(capsys) == [0]


def shown_seqs(capsys: pytest.CaptureFixture[str]) -> list[int]:
    return [json.loads(line)["record"]["seq"] for line in capsys.readouterr().out.splitlines()]


class TestEnd:
    async def test_missing_topics_are_reported_and_not_created(
        self, broker: EmbeddedBroker, settings: Settings, topic_prefix: str
    ) -> None:
        """A missing topic is an error that names the command to create it; following does not create it."""
        broker.create_topics([f"{topic_prefix}.quotes"])

        with pytest.raises(
            TopicConfigurationError, match=rf"no topic {topic_prefix}\.trades, other .*`aries-bridge topics`"
        ):
            await print_records(settings, all_of("quotes", "trades", "other"), json_line)

        assert await topics_of(broker, topic_prefix) == {f"{topic_prefix}.quotes"}

    async def test_no_topic_at_all_is_an_error(self, settings: Settings, topic_prefix: str) -> None:
        """If none of the bridge's topics exists there is nothing to follow."""
        with pytest.raises(TopicConfigurationError, match=rf"no topic {topic_prefix}\.quotes, .*{topic_prefix}\.dlq"):
            await print_records(settings, all_of(), json_line)

    async def test_unreachable_kafka_is_an_error(self) -> None:
        """An address without a listener is one clear message."""
        with pytest.raises(KafkaUnreachable, match=rf"Kafka at {NOWHERE} cannot be used: .* Check KAFKA_BOOTSTRAP"):
            await print_records(kafka_settings(NOWHERE, {}), all_of(), json_line)

    async def test_timeout_without_records(self, settings: Settings, writer: Writer) -> None:
        """It ends when no record has arrived for the timeout."""
        await print_records(settings, Selection(timeout_seconds=0.2), json_line)

    async def test_other_records_do_not_extend_the_timeout(self, settings: Settings, writer: Writer) -> None:
        """It ends when no selected record has arrived for the timeout, although others arrive."""

        async def write_on() -> None:
            while True:
                await writer.quote("MSFT", 0)

        async with in_background(write_on()):
            await print_records(settings, Selection(keys=frozenset({b"AAPL"}), timeout_seconds=0.3), json_line)


class TestOnRealKafka:
    async def test_topics_are_shown(
        self, kafka: RealKafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Records of a real broker are shown."""
        kafka.create_topic(f"{topic_prefix}.quotes")
        async with writing(kafka.bootstrap_servers, topic_prefix) as writer:
            await writer.quote("AAPL", 0)
        settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})

        await print_records(settings, all_of(count=1), text_line)

        assert " AAPL bid_price=187.25 " in capsys.readouterr().out

    async def test_following_continues_after_a_broker_restart(self, kafka: RealKafka, topic_prefix: str) -> None:
        """While Kafka is unreachable one line says so; after its restart records are shown again."""
        kafka.create_topic(f"{topic_prefix}.quotes")
        async with command("-b", kafka.bootstrap_servers, "--json", prefix=topic_prefix) as tail:
            await tail.following()
            kafka.kill()
            assert b"retrying" in await tail.note()
            await asyncio.to_thread(kafka.restart)
            async with writing(kafka.bootstrap_servers, topic_prefix) as writer:
                await writer.quote("AAPL", 9)

            assert json.loads(await tail.line())["record"]["seq"] == 9
            assert await tail.ended_by(signal.SIGINT) == 0


class Command:
    """A running ``aries-bridge tail``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stderr is not None
        self.stderr = process.stderr

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout

    async def following(self) -> None:
        """Wait until it has its positions in the topics."""
        assert b": following " in await self.note()

    async def line(self) -> bytes:
        return await self.stdout.readline()

    async def note(self) -> bytes:
        return await self.stderr.readline()

    async def ended_by(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        return await self._process.wait()

    async def ended(self) -> int:
        return await self._process.wait()

    def close_pipe(self) -> None:
        """Close the pipe that it writes to, as ``head`` does."""
        self.stdout._transport.close()  # type: ignore[attr-defined] # asyncio has no public way to it


@asynccontextmanager
async def command(*arguments: str, prefix: str, stdout: int = subprocess.PIPE) -> AsyncIterator[Command]:
    """Run ``aries-bridge tail`` until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge",
        "tail",
        *arguments,
        env={"KAFKA_TOPIC_PREFIX": prefix},
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class TestCommand:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_follows_from_the_end_until_a_signal(
        self, number: signal.Signals, broker: EmbeddedBroker, writer: Writer, topic_prefix: str
    ) -> None:
        """Earlier records are not shown, new ones are shown at once, and a signal ends it with 0 and no message."""
        await writer.quote("AAPL", 0)
        async with command("quotes", "--json", "-b", broker.bootstrap_servers, prefix=topic_prefix) as tail:
            await tail.following()
            await writer.quote("AAPL", 1)

            assert json.loads(await tail.line())["record"]["seq"] == 1
            assert await tail.ended_by(number) == 0
            assert (await tail.line(), await tail.note()) == (b"", b"")

    async def test_a_closed_pipe_ends_it(self, broker: EmbeddedBroker, writer: Writer, topic_prefix: str) -> None:
        """A closed pipe, as by `| head`, ends it with 0 and no message."""
        async with command("-b", broker.bootstrap_servers, prefix=topic_prefix) as tail:
            await tail.following()
            tail.close_pipe()
            await writer.quote("AAPL", 0)

            assert await tail.ended() == 0
            assert await tail.note() == b""

    async def test_a_closed_pipe_ends_it_on_idle_topics(
        self, broker: EmbeddedBroker, writer: Writer, topic_prefix: str
    ) -> None:
        """It also ends if nothing arrives that it could write."""
        async with command("-b", broker.bootstrap_servers, prefix=topic_prefix) as tail:
            await tail.following()
            tail.close_pipe()

            assert await tail.ended() == 0
            assert await tail.note() == b""

    async def test_a_full_disk_is_one_sentence(self, broker: EmbeddedBroker, writer: Writer, topic_prefix: str) -> None:
        """Output that cannot be written ends it with 1 and a message without a traceback."""
        await writer.quote("AAPL", 0)
        with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 - a device
            arguments = ("--from-beginning", "-b", broker.bootstrap_servers)
            async with command(*arguments, prefix=topic_prefix, stdout=full.fileno()) as tail:
                await tail.following()
                assert await tail.ended() == 1
                notes = await tail.stderr.read()
        assert notes == b"aries-bridge: the output cannot be written: No space left on device.\n"

    async def test_nothing_decodable_is_exit_code_1(
        self, broker: EmbeddedBroker, writer: Writer, topic_prefix: str
    ) -> None:
        """One line for the cause and one for the end."""
        await writer.raw(Topic.QUOTES, "AAPL", b"junk")
        async with command("--from-beginning", "-b", broker.bootstrap_servers, prefix=topic_prefix) as tail:
            await tail.following()
            assert await tail.ended() == 1
            notes = (await tail.stderr.read()).splitlines()
        assert [b" offset 0: " in notes[0], b"none of the records could be decoded" in notes[1]] == [True, True]
        assert len(notes) == 2

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--since", "yesterday"), "is not a time"),
            (("--since", "2026-01-31T14:00:00Z", "--until", "2026-01-31T14:00:00+01:00"), "is not after"),
            (("--since", "1h", "--from-beginning"), "leave one out"),
            (("--until", "1h"), "is past"),
        ],
    )
    async def test_invalid_times_are_exit_code_2(self, arguments: tuple[str, ...], words: str) -> None:
        """A value that is no time, or selects nothing, is an error of usage."""
        async with command("-b", NOWHERE, *arguments, prefix="aries") as tail:
            assert await tail.ended() == 2
            assert words in " ".join((await tail.stderr.read()).decode().replace("│", "").split())

    async def test_a_signal_ends_it_while_kafka_is_unreachable(self, topic_prefix: str) -> None:
        """While Kafka is unreachable it says so once and retries; a signal still ends it with 0."""
        with EmbeddedBroker() as broker:
            broker.create_topics([f"{topic_prefix}.quotes"])
            async with command("-b", broker.bootstrap_servers, prefix=topic_prefix) as tail:
                await tail.following()
                broker.close()

                assert (await tail.note()).endswith(b"; retrying.\n")
                assert await tail.ended_by(signal.SIGINT) == 0
                assert await tail.note() == b""

    async def test_errors_are_one_line_with_exit_code(self, topic_prefix: str) -> None:
        """An unreachable Kafka is one line, with exit code 1."""
        async with command("-b", NOWHERE, prefix=topic_prefix) as tail:
            assert await tail.ended() == 1
            assert (await tail.note()).startswith(b"aries-bridge: Kafka at 127.0.0.1:1 cannot be used: ")
            assert await tail.note() == b""

    async def test_missing_settings_are_exit_code_2(self) -> None:
        """Without KAFKA_BOOTSTRAP_SERVERS the message names it, and no setting of Aries."""
        async with command(prefix="aries") as tail:
            assert await tail.ended() == 2
            stderr = await tail.stderr.read()
            assert b"KAFKA_BOOTSTRAP_SERVERS" in stderr
            assert b"ARIES_" not in stderr


async def topics_of(broker: EmbeddedBroker, prefix: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        return {name for name in await admin.list_topics() if name.startswith(prefix)}
    finally:
        await admin.close()
