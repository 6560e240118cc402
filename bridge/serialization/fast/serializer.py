"""Records straight from the fields of the feed: functions written from the Avro schemas when the bridge starts.

What they cannot write they leave to ``records.build`` and ``Serializer.encode``, which can say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.market_data import JsonObject
from bridge.serialization.fast.code_context import Tables
from bridge.serialization.fast.code_generator import arrays_of, source_of
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.serialization.decimals import Prices
    from bridge.serialization.schemas import Schemas

#: Takes an update's fields and feed time, then what the bridge adds: symbol, ingest time and session id as Avro
#: (``string_bytes``, ``long_bytes``: they serve many records), ``seq`` and ``after_gap``. None: see the slow path.
Encode = Callable[[JsonObject, object, bytes, bytes, bytes, int, bool], bytes | None]


#: Functions made for updates with certain names. Each takes a fraction of a millisecond to make and some kilobytes.
MOST_OF_NAMES = 500


class FastSerializer:
    """Encode records of the market-data topics, byte for byte as ``build`` and ``Serializer`` do.

    ``prices`` counts what is rounded, once for each record that is written. One encoder belongs to one thread.
    """

    def __init__(self, schemas: Schemas, prefixes: Mapping[Topic, bytes], prices: Prices) -> None:
        self._records = {topic: schemas[topic].parsed for topic in MARKET_DATA}
        self._tables = Tables(prices)
        self._arrays = {
            topic: _run(arrays_of(record, self._tables), self._tables.names) for topic, record in self._records.items()
        }
        self._names: dict[Topic, list[dict[str, Any]]] = {topic: [] for topic in MARKET_DATA}
        self._of_names: dict[tuple[Topic, tuple[str, ...]], Encode] = {}
        self.prefix_with(prefixes)
        self._of_any = {topic: self._made(topic, None) for topic in MARKET_DATA}

    def prefix_with(self, prefixes: Mapping[Topic, bytes]) -> None:
        """Name the schemas by other prefixes from now on, also in functions handed out before."""
        self._prefixes = prefixes
        for topic, all_names in self._names.items():
            for names in all_names:
                names["prefix"] = prefixes[topic]

    def of(self, topic: Topic, names: tuple[str, ...] | None = None) -> Encode:
        """Return the function that encodes records of a topic from updates with any fields, or with just these."""
        if names is None:
            return self._of_any[topic]
        known = self._of_names.get((topic, names))
        if known is None:
            if len(self._of_names) >= MOST_OF_NAMES:
                return self._of_any[topic]
            known = self._of_names[topic, names] = self._made(topic, names)
        return known

    def source(self, topic: Topic, names: tuple[str, ...] | None = None) -> str:
        """Return the text of a function, for people."""
        return source_of(topic, self._records[topic], self._tables, names)

    def _made(self, topic: Topic, names: tuple[str, ...] | None) -> Encode:
        source = self.source(topic, names)
        known = _run(source, {**self._tables.names, **self._arrays[topic], "prefix": self._prefixes[topic]})
        self._names[topic].append(known)
        encode: Encode = known["encode"]
        return encode


def _run(source: str, names: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(names)
    exec(compile(source, "<from the Avro schema>", "exec"), known)  # noqa: S102 - our own text, none of the feed's
    return known
