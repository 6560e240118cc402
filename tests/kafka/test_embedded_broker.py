"""The embedded broker serves Kafka clients as a real one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from bridge.kafka.embedded_broker import EmbeddedBroker, EmbeddedBrokerError
from tests.support.consumer import Message, wait_for


async def produce(bootstrap_servers: str, topic: str, compression: str | None = None) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, compression_type=compression
    ) as producer:
        for number in range(3):
            await producer.send_and_wait(
                topic, str(number).encode(), key=b"AAPL", partition=2, timestamp_ms=1_700_000_000_000 + number
            )


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_what_is_produced_is_read_back(compression: str | None) -> None:
    """Records of an idempotent producer come back in order, with key and timestamp, in every compression."""
    with EmbeddedBroker() as broker:
        await produce(broker.bootstrap_servers, "quotes", compression)

        messages = wait_for(broker.bootstrap_servers, ["quotes"], 3)

    assert messages == [
        Message("quotes", 2, number, b"AAPL", str(number).encode(), 1_700_000_000_000 + number) for number in range(3)
    ]


def test_topics_exist_once_created() -> None:
    """Created topics are listed for any client, with four partitions each."""
    with EmbeddedBroker() as broker:
        broker.create_topics(["aries.quotes", "aries.trades"])
        client = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})

        topics = client.list_topics(timeout=10).topics
        client.close()

    assert {name: len(topic.partitions) for name, topic in topics.items()} == {
        "aries.quotes": 4,
        "aries.trades": 4,
    }


def test_a_closed_broker_does_not_listen() -> None:
    """After close() nothing listens on the port, and a second close() does nothing."""
    broker = EmbeddedBroker().start()
    host, port = broker.bootstrap_servers.split(":")
    broker.close()
    broker.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_brokers_are_independent() -> None:
    """Two brokers have two addresses and share no topics."""
    with EmbeddedBroker() as first, EmbeddedBroker() as second:
        assert first.bootstrap_servers != second.bootstrap_servers


def test_use_before_start_is_an_error() -> None:
    """Creating topics on a broker that is not running is an error that says so."""
    with pytest.raises(EmbeddedBrokerError, match="start it first"):
        EmbeddedBroker().create_topics(["quotes"])


def test_nothing_is_written_to_the_standard_streams() -> None:
    """Starting, serving clients and closing leave stdout and stderr empty."""
    program = (
        "import asyncio\n"
        "from bridge.kafka.embedded_broker import EmbeddedBroker\n"
        "from tests.kafka.test_embedded_broker import produce\n"
        "with EmbeddedBroker() as broker:\n"
        "    asyncio.run(produce(broker.bootstrap_servers, 'quotes'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("environ", "said", "unsaid"),
    [
        ({}, 'pip install "aries-kafka-bridge[dev]"', "docker compose"),
        ({"IN_CONTAINER_IMAGE": "1"}, "docker compose up -d", "pip install"),
    ],
)
def test_a_missing_package_is_explained(environ: dict[str, str], said: str, unsaid: str) -> None:
    """Without confluent-kafka the error says what to install, or, in the image, which has no pip, what to use."""
    program = (
        "import sys\n"
        "sys.modules['confluent_kafka'] = None\n"
        "from bridge.kafka.embedded_broker import EmbeddedBroker, EmbeddedBrokerError\n"
        "try:\n"
        "    EmbeddedBroker().start()\n"
        "except EmbeddedBrokerError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **environ}
    )

    assert said in done.stdout
    assert unsaid not in done.stdout
