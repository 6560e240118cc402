"""Golden captures: what became of their lines once still becomes of them, explained and published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge.capture.files import all_entries, common_dialect
from bridge.serialization.deserializer import to_json
from bridge.simulator.replay import Replay
from bridge.topics import Topic
from tests.programs import golden_captures as golden
from tests.support.service import environment, eventually, read, running

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

dialects = pytest.mark.parametrize("dialect", golden.DIALECTS)


def expected(dialect: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in golden.expected(dialect).read_text(encoding="utf-8").splitlines()]


@dialects
def test_a_golden_capture_is_explained_as_ever(dialect: str) -> None:
    """A difference is a change that consumers see; if it is meant, ``tests.programs.golden_captures`` writes it."""
    assert [json.loads(line) for line in golden.explained(golden.capture(dialect))] == expected(dialect)


@dialects
def test_golden_captures_have_every_outcome(dialect: str) -> None:
    """Records of each topic, null and unknown fields, dead letters, and lines without a record."""
    found = expected(dialect)
    assert {one["result"] for one in found} == {"published", "filtered", "dead_letter"}
    assert {record["topic"] for one in found for record in one["records"]} == {
        f"aries.{topic}" for topic in Topic if topic is not Topic.CONTROL
    }
    assert len({one["reason"] for one in found if one["result"] == "dead_letter"}) >= 3
    assert len({one["filtered"] for one in found if one["result"] == "filtered"}) >= 3
    assert any(one["unreadable"] for one in found)
    assert any(one["unknown_fields"] for one in found)


@dialects
async def test_a_bridge_publishes_what_is_explained(dialect: str, broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The same keys and records in the same order, from the socket to the consumer."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Replay(all_entries([golden.capture(dialect)]), common_dialect([golden.capture(dialect)])) as server:
        environ = environment(server, broker.bootstrap_servers, topic_prefix, **golden.SETTINGS)
        async with running(environ) as bridge:
            await server.ended()
            await eventually(lambda: bridge.client.session is None, "the end of the connection")
    published: dict[tuple[str, object], list[object]] = {}
    for one in await read(broker.bootstrap_servers, topic_prefix):
        if one.topic is not Topic.CONTROL:
            record = json.loads(golden.constant(json.dumps(to_json(one.record), separators=(",", ":"))))
            published.setdefault((f"aries.{one.topic}", one.key), []).append({**record, "ingest_time_us": 0})
    explained: dict[tuple[str, object], list[object]] = {}
    for line in expected(dialect):
        for one in line["records"]:
            explained.setdefault((one["topic"], one["key"]), []).append({**one["record"], "ingest_time_us": 0})
    assert published == explained
