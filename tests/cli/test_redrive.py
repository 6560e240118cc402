"""``aries-bridge redrive`` as a process: its output, its options, and errors without a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.topics import Topic
from tests.redrive.letters import letter, raw_records, trade_line, write_letters
from tests.support.process import process

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker


def of(broker: EmbeddedBroker, prefix: str) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "KAFKA_TOPIC_PREFIX": prefix}


@pytest.mark.usefixtures("topics")
async def test_a_dry_run_shows_counts_and_examples(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Letters by reason and result, records by topic, why letters have none, and an example of each with its place."""
    good, bad = letter(trade_line(), symbol="AAPL"), letter(b"{", reason="not_json")
    await write_letters(broker.bootstrap_servers, topic_prefix, [good, good, bad])

    async with process(of(broker, topic_prefix), "redrive", "--dry-run") as command:
        assert await command.ended() == 0, command.text

    shown = [" ".join(line.split()) for line in command.output.splitlines()]
    assert shown[:5] == [
        "reason letters redriven failed skipped",
        "not_json 1 0 1 0",
        "unknown_kind 2 2 0 0",
        f"{topic_prefix}.timesales: 2 records",
        "failed, not_json: 1",
    ]
    assert f"{topic_prefix}.dlq partition 0 offset 0 unknown_kind AAPL: to {topic_prefix}.timesales" in shown
    failed = f"{topic_prefix}.dlq partition 2 offset 0 not_json: failed, not_json:"
    assert any(line.startswith(failed) for line in shown)
    assert shown[-1] == "dry run: nothing was written; letters: 2 redriven, 1 failed, 0 skipped."
    assert await raw_records(broker.bootstrap_servers, topic_prefix) == []


@pytest.mark.usefixtures("topics")
async def test_options_select_letters(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A reason, a number and a group are taken from the command line; what was passed over is said."""
    letters = [letter(trade_line(), reason=reason) for reason in ("a", "a", "b")]
    await write_letters(broker.bootstrap_servers, topic_prefix, letters)
    options = ("--reason", "a", "--max", "5", "--group", "mine", "--since", "2020-01-01")

    async with process(of(broker, topic_prefix), "redrive", *options) as command:
        assert await command.ended() == 0, command.text

    assert "passed over, not selected: 1; another --group reads them again" in command.output
    assert len(await raw_records(broker.bootstrap_servers, topic_prefix, Topic.TIMESALES)) == 2


async def test_a_missing_topic_is_said(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Without a dead-letter topic the command says which is missing and how to create it."""
    async with process(of(broker, topic_prefix), "redrive") as command:
        assert await command.ended() == 1

    assert f"Kafka has no topic {topic_prefix}.dlq" in "".join(command.text)
