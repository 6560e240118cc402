"""Records straight from the fields of the feed: functions written from the Avro schemas when the bridge starts.

What they cannot write they leave to the slow path, ``records.build`` and ``Codec.encode``, which can say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.aries.events import JsonObject
from bridge.encoder.source import source_of
from bridge.encoder.tables import Tables
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.decimals import Prices
    from bridge.schemas import Schemas

#: Takes an update's fields and feed time, then what the bridge adds: symbol, ingest time and session id as Avro
#: (``string_bytes``, ``long_bytes``: they serve many records), ``seq`` and ``after_gap``. None: see the slow path.
Encode = Callable[[JsonObject, object, bytes, bytes, bytes, int, bool], bytes | None]


class Encoder:
    """Encode records of the market-data topics, byte for byte as ``build`` and ``Codec`` do.

    ``prices`` counts what is rounded, once for each record that is written. One encoder belongs to one thread.
    """

    def __init__(self, schemas: Schemas, prefixes: Mapping[Topic, bytes], prices: Prices) -> None:
        tables = Tables(prices)
        self._sources = {topic: source_of(topic, schemas[topic].parsed, tables) for topic in MARKET_DATA}
        self._names = {topic: _run(source, tables.names) for topic, source in self._sources.items()}
        self.prefix_with(prefixes)

    def prefix_with(self, prefixes: Mapping[Topic, bytes]) -> None:
        """Name the schemas by other prefixes from now on, also in functions handed out before."""
        for topic, names in self._names.items():
            names["prefix"] = prefixes[topic]

    def of(self, topic: Topic) -> Encode:
        """Return the function that encodes the records of a topic."""
        encode: Encode = self._names[topic]["encode"]
        return encode

    def source(self, topic: Topic) -> str:
        """Return the text of a topic's function, for people."""
        return self._sources[topic]


def _run(source: str, names: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(names)
    exec(compile(source, "<from the Avro schema>", "exec"), known)  # noqa: S102 - our own text, none of the feed's
    return known
