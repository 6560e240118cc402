"""Read the topics with aiokafka and fastavro, without a registry.

python without_registry.py BOOTSTRAP_SERVERS TOPIC_PREFIX SCHEMAS (the directory of the .avsc files)
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import fastavro
from aiokafka import AIOKafkaConsumer
from fastavro.schema import fingerprint, to_parsing_canonical_form
from market_state import MarketState, Record, shown

TOPICS = ("quotes", "trades", "timesales", "l2", "control")
SINGLE_OBJECT = b"\xc3\x01"


class Schemas:
    """The schemas by their fingerprints.

    A value is decoded with the schema that it was written with, and read as the newest of this program: fields that
    were added or removed since then do not matter. Before the bridge is upgraded, put its schemas here.
    """

    def __init__(self, directory: Path) -> None:
        newest = [_declared(path) for path in directory.glob("*.avsc")]
        released = [_declared(path) for path in directory.glob("released/*/*.avsc")]
        self._writers = {_fingerprint(schema): fastavro.parse_schema(schema) for schema in [*released, *newest]}
        self._readers = {schema["name"]: schema for schema in map(fastavro.parse_schema, newest)}

    def read(self, value: bytes) -> Record:
        """Return the record of a value."""
        if value[:2] != SINGLE_OBJECT:
            raise ValueError(f"the value begins with {value[:2].hex()}: is a registry set on the bridge?")
        writer = self._writers.get(value[2:10])
        if writer is None:
            raise ValueError(f"no schema has the fingerprint {value[2:10].hex()}: get the newer schemas")
        return fastavro.schemaless_reader(io.BytesIO(value[10:]), writer, self._readers[writer["name"]])


def _declared(path: Path) -> Record:
    return json.loads(path.read_text(encoding="utf-8"))


def _fingerprint(declared: Record) -> bytes:
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(declared), "CRC-64-AVRO"))


async def main(bootstrap_servers: str, prefix: str, directory: str) -> None:
    schemas, market = Schemas(Path(directory)), MarketState()
    topics = [f"{prefix}.{topic}" for topic in TOPICS]
    # No group: the state is in memory, so that each start reads from the beginning.
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    async with consumer:
        async for message in consumer:
            record = schemas.read(message.value)
            key = message.key.decode()
            state = market.apply(message.topic, key, record)
            if state is not None:
                print(shown(message.topic, key, state, record), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
