"""A run counts only if a consumer finds every record once, in its symbol's order."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from bridge.serialization import schemas
from bridge.serialization.serializer import single_object_prefix
from bridge.topics import Topic
from tests.programs.bench.baseline import Translation
from tests.programs.bench.brokers import Target
from tests.programs.bench.core import INGEST_US, SESSION_ID
from tests.programs.bench.frames import QUOTES, Recipe, build, lines_of
from tests.programs.bench.readback import Consuming, Void

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.kafka.embedded_broker import EmbeddedBroker

    Records = list[tuple[Topic, bytes, bytes]]

RECIPE = Recipe(QUOTES, 40, symbols=3)
FEED = build(RECIPE)


def records(session_id: int = SESSION_ID) -> Records:
    """Return the right records."""
    translation = Translation()
    return [one for line in lines_of(RECIPE) for one in translation.records(line, INGEST_US, session_id)]


def check(
    broker: EmbeddedBroker, prefix: str, published: Records, further_schemas: Sequence[schemas.Schema] = ()
) -> None:
    """Publish records and read them back."""
    target = Target(broker.bootstrap_servers, prefix)
    broker.create_topics(target.names().values())
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    for topic, key, value in published:
        producer.produce(target.names()[topic], value, key)
    producer.flush()
    with closing(Consuming(target, FEED.topics, further_schemas)) as consuming:
        assert len(consuming) == len(published)
        consuming.check(FEED.records)


def test_a_whole_feed_passes(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Every line's record is there."""
    check(broker, topic_prefix, records())


def test_records_of_another_bridges_schemas(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """They pass if their schemas are given; otherwise the run is void, and says how to give them."""
    declared = json.loads(schemas.load()[Topic.QUOTES].text)
    last = declared["fields"].pop()
    assert last["name"] == "cleared"  # an empty array here, which is one byte
    other = schemas.parse_schema(json.dumps(declared))
    prefix = single_object_prefix(other)
    written = [(topic, key, prefix + value[len(prefix) : -1]) for topic, key, value in records()]

    with pytest.raises(Void, match="--beside-schemas"):
        check(broker, f"{topic_prefix}-a", written)
    check(broker, f"{topic_prefix}-b", written, [other])


def _swapped(right: Records) -> Records:
    same = [place for place, record in enumerate(right) if record[1] == right[0][1]]
    right[same[0]], right[same[1]] = right[same[1]], right[same[0]]
    return right


def _moved(right: Records) -> Records:
    keys = sorted({key for _, key, _ in right})
    topic, key, value = right[-1]
    return [*right[:-1], (topic, next(other for other in keys if other != key), value)]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_swapped, "has seq 1 in place of 0"),
        (_moved, "has seq"),
        (lambda right: [*right[:-1], right[-2]], "has seq"),
        (lambda right: [*right[:-1], records(7)[-1]], "2 sessions"),
    ],
    ids=["swapped", "under another key", "one twice, one missing", "another session"],
)
def test_anything_else_voids_the_run(
    broker: EmbeddedBroker, topic_prefix: str, spoil: Callable[[Records], Records], reason: str
) -> None:
    """A faster bridge that loses, repeats or reorders is not faster."""
    with pytest.raises(Void, match=reason):
        check(broker, topic_prefix, spoil(records()))
