"""A run of ``aries-bridge redrive``: from the dead letters of a broker to its data topics, and again after a kill."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bridge.aries.protocol import envelope
from bridge.market_data import UpdateKind
from bridge.redrive.reprocessing import Result
from bridge.redrive.run import DEAD_LETTER_HEADER, RUN_HEADER, Redrive, Selection
from bridge.settings.kafka_side import routing_settings
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.proof import verified
from tests.redrive.letters import INGEST_US, SESSION, decoded, letter, producing, raw_records, trade_line, write_letters
from tests.support.process import process
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.redrive.report import Report
    from tests.support.brokers import RealKafka
    from tests.support.consumer import Message

SECOND_US = 1_000_000


async def redriven(
    bootstrap_servers: str,
    prefix: str,
    selection: Selection | None = None,
    *,
    group: str = "",
    dry_run: bool = False,
    **environ: str,
) -> Report:
    settings, plan = routing_settings(bootstrap_servers, {"KAFKA_TOPIC_PREFIX": prefix, **environ})
    run = Redrive(settings, plan, selection or Selection(), group or f"{prefix}.redrive", dry_run=dry_run)
    await run.run()
    return run.report


def results(report: Report) -> dict[str, int]:
    return {f"{reason} {result}": count for (reason, result), count in report.results.items()}


def sources(messages: list[Message]) -> list[bytes]:
    """Return the places of the dead letters that records were made of."""
    return [dict(message.headers)[DEAD_LETTER_HEADER] for message in messages]


@pytest.mark.usefixtures("topics")
class TestRuns:
    async def test_a_line_that_a_changed_table_knows_comes_back_once(
        self, broker: EmbeddedBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A dead-lettered line is published by a version that knows it, once, and the topics are proven."""
        data = b'{"symbol":"AAPL","bidSize":5}'
        line = b'{"type":"event","payload":{"action":"update","type":"correctedQuote","data":%s}}' % data
        async with Simulator(dialect="envelope", seed=5) as simulator:
            async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
                await simulator.subscribed("AAPL", "MSFT")
                await eventually(lambda: bridge.client.state == "streaming", "streaming")
                await simulator.quote("AAPL", bidPrice="1")
                await simulator.send_line(line)
                await simulator.quote("AAPL", bidPrice="2")
                await eventually(lambda: bridge.accounts.lines_received >= simulator.sent.lines, "all lines read")
                session = bridge.ingest.session_id
        before = await raw_records(broker.bootstrap_servers, topic_prefix)
        old = await redriven(broker.bootstrap_servers, topic_prefix, group="old")
        assert results(old) == {"unknown_kind failed": 1}

        monkeypatch.setitem(envelope.KINDS, "correctedQuote", UpdateKind.QUOTE)
        reports = [await redriven(broker.bootstrap_servers, topic_prefix) for _ in range(2)]

        assert [results(report) for report in reports] == [{"unknown_kind redriven": 1}, {}]
        after = await raw_records(broker.bootstrap_servers, topic_prefix)
        [new] = [message for message in after if message not in before]
        record = await decoded(new)
        assert (new.topic, new.key, record["bid_size"]) == (f"{topic_prefix}.quotes", b"AAPL", 5)
        assert (record["session_id"], record["seq"], record["after_gap"]) == (session, -1, False)
        assert new.timestamp_ms == record["ingest_time_us"] // 1000
        assert [name for name, _ in new.headers] == [RUN_HEADER, DEAD_LETTER_HEADER]
        proof = await verified(broker.bootstrap_servers, topic_prefix)
        assert proof.violations == []
        assert {row.topic: row.redriven for row in proof.rows if row.redriven} == {f"{topic_prefix}.quotes": 1}
        assert "1 of them redriven" in proof.verdict

    async def test_what_fails_again_is_shown_and_not_dead_lettered_again(
        self, broker: EmbeddedBroker, topic_prefix: str
    ) -> None:
        """The dead-letter topic does not grow, and the next run does not look at these letters again."""
        await write_letters(broker.bootstrap_servers, topic_prefix, [letter(b"{"), letter(trade_line()), letter(b"[")])

        report = await redriven(broker.bootstrap_servers, topic_prefix)

        assert results(report) == {"unknown_kind failed": 2, "unknown_kind redriven": 1}
        assert any("not_json" in str(one) for examples in report.examples.values() for one in examples)
        assert len(await raw_records(broker.bootstrap_servers, topic_prefix, Topic.DLQ)) == 3
        assert (await redriven(broker.bootstrap_servers, topic_prefix)).letters == 0

    async def test_a_dry_run_changes_nothing(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """It shows what would be published, publishes nothing, and leaves all letters to a real run."""
        await write_letters(broker.bootstrap_servers, topic_prefix, [letter(trade_line())] * 5)

        report = await redriven(broker.bootstrap_servers, topic_prefix, dry_run=True)

        assert results(report) == {"unknown_kind redriven": 5}
        assert dict(report.records) == {f"{topic_prefix}.timesales": 5}
        assert await raw_records(broker.bootstrap_servers, topic_prefix) == []
        assert results(await redriven(broker.bootstrap_servers, topic_prefix)) == results(report)

    async def test_only_selected_letters(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """By reason, by time and up to a number; another group has a position of its own."""
        reasons = ["bad_field", "encode", "bad_field", "unknown_kind"]
        letters = [
            letter(trade_line(), reason=reason, ingest_time_us=INGEST_US + place * SECOND_US)
            for place, reason in enumerate(reasons)
        ]
        await write_letters(broker.bootstrap_servers, topic_prefix, letters)

        async def found(group: str, selection: Selection) -> dict[str, int]:
            return results(await redriven(broker.bootstrap_servers, topic_prefix, selection, group=group))

        assert await found("a", Selection(frozenset({"bad_field", "encode"}))) == {
            "bad_field redriven": 2,
            "encode redriven": 1,
        }
        assert await found("a", Selection()) == {}
        since = Selection(since_us=INGEST_US + 2 * SECOND_US)
        assert await found("b", since) == {"bad_field redriven": 1, "unknown_kind redriven": 1}
        assert [sum((await found("c", Selection(max_letters=3))).values()) for _ in range(3)] == [3, 1, 0]

    async def test_letters_that_nobody_can_decode_are_counted(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """A foreign value on the dead-letter topic is shown and does not stop the run."""
        async with producing(broker.bootstrap_servers) as producer:
            await producer.send_and_wait(f"{topic_prefix}.dlq", b"something else", partition=0)
        await write_letters(broker.bootstrap_servers, topic_prefix, [letter(trade_line())])

        report = await redriven(broker.bootstrap_servers, topic_prefix)

        assert results(report) == {"undecodable failed": 1, "unknown_kind redriven": 1}

    async def test_the_subscriptions_decide_on_topics(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """With the settings of a bridge that does not publish executions, none is redriven."""
        await write_letters(broker.bootstrap_servers, topic_prefix, [letter(trade_line())])

        report = await redriven(
            broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="AAPL", ARIES_EVENTS="quotes,trades"
        )

        assert {why for _, why in report.why} == {"not_subscribed"}


KILL_AT_SECOND_COMMIT = """
import os, signal, aiokafka
commits, commit = [], aiokafka.AIOKafkaConsumer.commit
async def dying(self, offsets):
    commits.append(offsets)
    if len(commits) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    await commit(self, offsets)
aiokafka.AIOKafkaConsumer.commit = dying
"""


async def resumes_after_a_kill(bootstrap_servers: str, prefix: str) -> None:
    letters = [letter(trade_line(price=f"{number}.5"), symbol="AAPL") for number in range(250)]
    await write_letters(bootstrap_servers, prefix, letters)
    environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, "KAFKA_TOPIC_PREFIX": prefix}
    async with process(environ, "redrive", sabotage=KILL_AT_SECOND_COMMIT) as killed:
        assert await killed.ended() == -9
    first = await raw_records(bootstrap_servers, prefix)
    assert 0 < len(first) < len(letters)

    async with process(environ, "redrive") as resumed:
        assert await resumed.ended() == 0, resumed.text

    found = await raw_records(bootstrap_servers, prefix)
    prices = {(await decoded(message))["price"] for message in found}
    assert len(prices) == len(letters), "nothing is lost"
    assert len(found) > len(letters), "what was not committed comes again"
    repeats = Counter(sources(found))
    assert len(repeats) == len(letters), "a repeat has the place of its dead letter"
    assert max(repeats.values()) == 2
    by_source: dict[bytes, set[tuple[bytes | None, bytes | None]]] = {}
    for message, source in zip(found, sources(found), strict=True):
        by_source.setdefault(source, set()).add((message.key, message.value))
    assert all(len(contents) == 1 for contents in by_source.values()), "and the same content"
    assert len({dict(message.headers)[RUN_HEADER] for message in found}) == 2
    async with process(environ, "redrive") as again:
        assert await again.ended() == 0
        assert "No dead letters to redrive." in again.output


@pytest.mark.usefixtures("topics")
async def test_a_killed_run_is_resumed(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """After SIGKILL between publishing and committing nothing is lost, and repeats are recognizable."""
    await resumes_after_a_kill(broker.bootstrap_servers, topic_prefix)


def create_topics(kafka: RealKafka, prefix: str, **config: str) -> None:
    for topic in Topic:
        kafka.create_topic(f"{prefix}.{topic}", config=config if topic is Topic.TIMESALES else None)


async def test_a_killed_run_is_resumed_on_apache_kafka(kafka: RealKafka, topic_prefix: str) -> None:
    """After SIGKILL between publishing and committing nothing is lost, and repeats are recognizable."""
    create_topics(kafka, topic_prefix)
    await resumes_after_a_kill(kafka.bootstrap_servers, topic_prefix)


async def test_a_record_that_kafka_rejects_fails_alone(kafka: RealKafka, topic_prefix: str) -> None:
    """Of a batch the record that is too large for its topic is counted as failed; the others are published."""
    create_topics(kafka, topic_prefix, **{"max.message.bytes": "2000"})
    big = letter(
        b'{"type":"event","payload":{"action":"update","type":"timeAndSales","data":{"symbol":"AAPL",'
        b'"price":"1","tradeExchange":"' + b"x" * 5000 + b'"}}}'
    )
    letters = [letter(trade_line(price=f"{number}")) for number in range(20)]
    await write_letters(kafka.bootstrap_servers, topic_prefix, [*letters[:10], big, *letters[10:]])

    report = await redriven(kafka.bootstrap_servers, topic_prefix, KAFKA_COMPRESSION="none")

    assert results(report) == {"unknown_kind redriven": 20, "unknown_kind failed": 1}
    [failed] = report.examples["unknown_kind", Result.FAILED]
    assert failed.text.startswith("failed, record_refused: MESSAGE_TOO_LARGE")
    assert len(set(sources(await raw_records(kafka.bootstrap_servers, topic_prefix)))) == 20
    assert (await decoded((await raw_records(kafka.bootstrap_servers, topic_prefix))[0]))["session_id"] == SESSION
