"""Records from the fields of the feed to Kafka values in one step, by code generated from the Avro schemas at start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.market_data import JsonObject
from bridge.serialization.fast.code_context import CodeContext
from bridge.serialization.fast.code_generator import generate_array_encoders, generate_record_encoder
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.schemas import Schemas

#: Takes an update's fields and feed time, then what the bridge adds: symbol, ingest time and session id already
#: encoded (``encode_string``, ``encode_long``), as they are the same for many records, ``seq`` and ``after_gap``.
#: Returns None if the update must be left to ``build_record`` and ``Serializer.encode``, which can say what is wrong.
RecordEncoder = Callable[[JsonObject, object, bytes, bytes, bytes, int, bool], bytes | None]


#: Encoders for certain field names. Each takes a fraction of a millisecond to generate, and some kilobytes.
MAX_SPECIALIZED_ENCODERS = 500


class FastSerializer:
    """A serializer of the market-data topics whose values equal those of ``build_record`` and ``Serializer``.

    ``prices`` counts each rounded price once per encoded record. Not thread-safe.
    """

    def __init__(
        self,
        schemas: Schemas,
        prefixes: Mapping[Topic, bytes],
        decimals: DecimalEncoder,
        *,
        is_full: bool | None = None,
    ) -> None:
        """Encode ``is_full`` in each record of level 2: whether a message has all rows, if that is known."""
        self._records = {topic: schemas[topic].parsed for topic in MARKET_DATA}
        self._context = CodeContext(decimals, is_full=is_full)
        self._array_encoders = {
            topic: _execute(generate_array_encoders(record, self._context), self._context.namespace)
            for topic, record in self._records.items()
        }
        self._namespaces: dict[Topic, list[dict[str, Any]]] = {topic: [] for topic in MARKET_DATA}
        self._specialized: dict[tuple[Topic, tuple[str, ...]], RecordEncoder] = {}
        self.set_prefixes(prefixes)
        self._general = {topic: self._generate(topic, None) for topic in MARKET_DATA}

    def set_prefixes(self, prefixes: Mapping[Topic, bytes]) -> None:
        """Start values with other prefixes from now on, also those of encoders that were returned before."""
        self._prefixes = prefixes
        for topic, namespaces in self._namespaces.items():
            for namespace in namespaces:
                namespace["prefix"] = prefixes[topic]

    def encoder(self, topic: Topic, names: tuple[str, ...] | None = None) -> RecordEncoder:
        """Return the encoder of a topic's records for updates with any fields.

        With ``names``, the encoder may be a faster one that takes only updates with these fields in this order.
        """
        if names is None:
            return self._general[topic]
        encoder = self._specialized.get((topic, names))
        if encoder is None:
            if len(self._specialized) >= MAX_SPECIALIZED_ENCODERS:
                return self._general[topic]
            encoder = self._specialized[topic, names] = self._generate(topic, names)
        return encoder

    def code(self, topic: Topic, names: tuple[str, ...] | None = None) -> str:
        """Return the generated code of an encoder."""
        return generate_record_encoder(topic, self._records[topic], self._context, names)

    def _generate(self, topic: Topic, names: tuple[str, ...] | None) -> RecordEncoder:
        code = self.code(topic, names)  # first: it adds the caches that it uses to the context's namespace
        namespace = _execute(
            code, {**self._context.namespace, **self._array_encoders[topic], "prefix": self._prefixes[topic]}
        )
        self._namespaces[topic].append(namespace)
        encoder: RecordEncoder = namespace["encode"]
        return encoder


def _execute(code: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the namespace with what the code defines in it."""
    extended = dict(namespace)
    exec(compile(code, "<generated from the Avro schema>", "exec"), extended)  # noqa: S102 - generated here, not input
    return extended
