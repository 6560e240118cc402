"""Read the topics with confluent-kafka and a schema registry.

python with_registry.py BOOTSTRAP_SERVERS TOPIC_PREFIX REGISTRY_URL
"""

from __future__ import annotations

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from market_state import MarketState, shown

TOPICS = ("quotes", "trades", "timesales", "l2", "control")


def main(bootstrap_servers: str, prefix: str, registry_url: str) -> None:
    deserialize, market = AvroDeserializer(SchemaRegistryClient({"url": registry_url})), MarketState()
    # librdkafka demands a group; it is not joined, as the state is in memory and each start reads from the beginning.
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "unused", "enable.auto.commit": False})
    topics = [f"{prefix}.{topic}" for topic in TOPICS]
    consumer.assign(
        [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in topics
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
    )
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is not None:
            raise KafkaException(message.error())
        topic, key = message.topic(), message.key().decode()
        record = deserialize(message.value(), SerializationContext(topic, MessageField.VALUE))
        state = market.apply(topic, key, record)
        if state is not None:
            print(shown(topic, key, state, record), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
