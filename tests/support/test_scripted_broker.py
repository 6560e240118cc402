"""The broker that answers as a test tells it to."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
import subprocess
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.admin import ApiVersionRequest_v0
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.produce import ProduceRequest_v8
from aiokafka.protocol.transaction import InitProducerIdRequest_v0
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bridge.topics import Topic
from tests.support.consumer import read_all
from tests.support.scripted_broker import MODULE, ScriptedBrokerError
from tests.support.service import eventually, publishing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.scripted_broker import ScriptedBroker

OUT_OF_ORDER_SEQUENCE = 45
INVALID_PRODUCER_EPOCH = 47
MESSAGE_TOO_LARGE = 10
INVALID_TOPIC = 17
TOPIC_AUTHORIZATION_FAILED = 29
INVALID_RECORD = 87
COORDINATOR_NOT_AVAILABLE = 15
UNKNOWN_TOPIC_OR_PARTITION = 3
NONE, ZSTD = 0, 4


class Client:
    """A client that sends exactly what a test wants."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: Any) -> Any:
        """Send a request and return the response to it. Raises ConnectionError."""
        body = RequestHeader_v1(request, 7, "a test").encode() + request.encode()
        self._socket.sendall(struct.pack(">i", len(body)) + body)
        [size] = struct.unpack(">i", self._read(4))
        answer = BytesIO(self._read(size))
        assert answer.read(4) == struct.pack(">i", 7)
        return request.RESPONSE_TYPE.decode(answer)

    def produce(self, *batches: tuple[str, int, bytes]) -> dict[tuple[str, int], dict[str, Any]]:
        """Send record batches in one request of version 8 and return the answer for each partition."""
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for topic, partition, batch in batches:
            topics.setdefault(topic, []).append((partition, batch))
        response = self.ask(ProduceRequest_v8(None, -1, 1000, list(topics.items())))
        names = ("error", "offset", "timestamp", "log_start", "record_errors", "message")
        return {
            (topic, partition): dict(zip(names, answer, strict=True))
            for topic, partitions in response.topics
            for partition, *answer in partitions
        }

    def new_producer(self) -> int:
        """Return a producer ID."""
        response = self.ask(InitProducerIdRequest_v0(None, 1000))
        assert response.error_code == 0
        return int(response.producer_id)

    def _read(self, size: int) -> bytes:
        read = b""
        while len(read) < size:
            more = self._socket.recv(size - len(read))
            if not more:
                raise ConnectionResetError("closed by the broker")
            read += more
        return read


@contextmanager
def connected(broker: ScriptedBroker) -> Iterator[Client]:
    client = Client(broker.addresses[0])
    try:
        yield client
    finally:
        client.close()


def batch(*values: bytes, producer: int = -1, epoch: int = -1, sequence: int = -1, compression: int = NONE) -> bytes:
    """Return a record batch as it goes over the wire."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=1 << 20,
    )
    for offset, value in enumerate(values):
        assert builder.append(offset, 1_700_000_000_000, b"AAPL", value, []) is not None
    return bytes(builder.build())


def values(broker: ScriptedBroker, *topics: str) -> list[bytes | None]:
    """Return the values of all records of topics."""
    return [message.value for message in read_all(broker.bootstrap_servers, topics)]


def producer(broker: ScriptedBroker, **options: Any) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        enable_idempotence=True,
        compression_type="zstd",
        retry_backoff_ms=10,
        **options,
    )


async def test_what_is_produced_with_zstd_is_read_back(scripted_broker: ScriptedBroker) -> None:
    """Compressed records of an idempotent producer are appended and read by another client, in order."""
    scripted_broker.create_topic("quotes", partitions=2)
    async with producer(scripted_broker) as sender:
        for value in (b"a" * 1000, b"b" * 1000):
            await sender.send_and_wait("quotes", value, partition=1)
    assert values(scripted_broker, "quotes") == [b"a" * 1000, b"b" * 1000]


def test_sequences_are_enforced(scripted_broker: ScriptedBroker) -> None:
    """A gap is rejected, a repetition is acknowledged but not appended again, and an old epoch is fenced."""
    scripted_broker.create_topic("quotes")

    def send(value: bytes, sequence: int, epoch: int = 1) -> tuple[int, int]:
        raw = batch(value, producer=identity, epoch=epoch, sequence=sequence)
        answer = client.produce(("quotes", 0, raw))["quotes", 0]
        return answer["error"], answer["offset"]

    with connected(scripted_broker) as client:
        identity = client.new_producer()
        assert send(b"early", 5)[0] == OUT_OF_ORDER_SEQUENCE
        assert send(b"first", 0) == (0, 0)
        assert send(b"gap", 2)[0] == OUT_OF_ORDER_SEQUENCE
        assert send(b"second", 1) == (0, 1)
        assert send(b"first", 0) == (0, 0)
        assert send(b"old", 2, epoch=0)[0] == INVALID_PRODUCER_EPOCH
        assert send(b"new epoch", 2, epoch=2)[0] == OUT_OF_ORDER_SEQUENCE
    assert values(scripted_broker, "quotes") == [b"first", b"second"]
    errors = [one.batches[0].error for one in scripted_broker.requests("Produce")]
    assert errors == [45, 0, 45, 0, 0, 47, 45]


def test_a_rule_rejects_only_its_partition(scripted_broker: ScriptedBroker) -> None:
    """The other batches of the same request are appended, and the next request passes after ``times``."""
    scripted_broker.create_topics(["quotes", "trades"], partitions=2)
    rule = scripted_broker.add_rule(
        "Produce", topic="trades", partition=1, error=INVALID_RECORD, error_message="no schema", times=1
    )
    everything = [(topic, number, batch(b"a record")) for topic in ("quotes", "trades") for number in range(2)]
    with connected(scripted_broker) as client:
        first, second = client.produce(*everything), client.produce(*everything)
    assert {place: answer["error"] for place, answer in first.items()} == {
        ("quotes", 0): 0,
        ("quotes", 1): 0,
        ("trades", 0): 0,
        ("trades", 1): INVALID_RECORD,
    }
    assert (first["trades", 1]["message"], first["trades", 1]["offset"]) == ("no schema", -1)
    assert {answer["error"] for answer in second.values()} == {0}
    assert len(values(scripted_broker, "quotes", "trades")) == 7
    assert rule.hits == 1


def test_a_rule_may_reject_a_whole_request(scripted_broker: ScriptedBroker) -> None:
    """If no partition of a request is left, all are answered, with any code, from the request that is wanted on."""
    scripted_broker.create_topic("quotes", partitions=2)
    scripted_broker.add_rule("Produce", error=12345, after=1)
    with connected(scripted_broker) as client:
        answers = [client.produce(("quotes", 0, batch(b"1")), ("quotes", 1, batch(b"2"))) for _ in range(2)]
    assert [[one["error"] for one in answer.values()] for answer in answers] == [[0, 0], [12345, 12345]]
    assert len(values(scripted_broker, "quotes")) == 2


@pytest.mark.parametrize("compression", [NONE, ZSTD])
def test_records_that_contain_something_are_named(scripted_broker: ScriptedBroker, compression: int) -> None:
    """A batch is rejected for the records whose values contain the bytes, with their indices (KIP-467)."""
    scripted_broker.create_topic("quotes", partitions=2)
    scripted_broker.add_rule("Produce", containing=b"\xffbad", error=INVALID_RECORD, error_message="invalid")
    mixed = batch(b"good", b"a \xffbad one", b"good", b"\xffbad", compression=compression)
    with connected(scripted_broker) as client:
        answers = client.produce(("quotes", 0, mixed), ("quotes", 1, batch(b"good", compression=compression)))
    rejected = answers["quotes", 0]
    assert (rejected["error"], rejected["record_errors"]) == (INVALID_RECORD, [(1, "invalid"), (3, "invalid")])
    assert (answers["quotes", 1]["error"], answers["quotes", 1]["record_errors"]) == (0, [])
    assert values(scripted_broker, "quotes") == [b"good"]


def test_a_rule_names_the_records_that_it_is_told_to(scripted_broker: ScriptedBroker) -> None:
    """Indices may be given, whatever the records are."""
    scripted_broker.create_topic("quotes")
    scripted_broker.add_rule("Produce", error=INVALID_RECORD, record_errors=[0, 2])
    with connected(scripted_broker) as client:
        answer = client.produce(("quotes", 0, batch(b"1", b"2", b"3")))["quotes", 0]
    assert answer["record_errors"] == [(0, None), (2, None)]


async def test_batches_that_are_too_large_are_rejected(scripted_broker: ScriptedBroker) -> None:
    """A rule bounds the bytes of a batch of one topic, as the topic's own setting does."""
    scripted_broker.create_topics(["quotes", "trades"])
    scripted_broker.create_topic("greeks", config={"max.message.bytes": "500"})
    scripted_broker.add_rule("Produce", topic="quotes", larger_than_bytes=500, error=MESSAGE_TOO_LARGE)
    async with AIOKafkaProducer(bootstrap_servers=scripted_broker.bootstrap_servers) as sender:
        for topic in ("quotes", "greeks"):
            with pytest.raises(MessageSizeTooLargeError):
                await sender.send_and_wait(topic, bytes(600))
            await sender.send_and_wait(topic, bytes(100))
        await sender.send_and_wait("trades", bytes(600))
    kept = {
        topic: [len(value or b"") for value in values(scripted_broker, topic)]
        for topic in ("quotes", "greeks", "trades")
    }
    assert kept == {"quotes": [100], "greeks": [100], "trades": [600]}


async def test_an_answer_that_is_lost_is_not_a_record_that_is_lost_or_doubled(scripted_broker: ScriptedBroker) -> None:
    """The batch is appended, the connection ends, and the producer's repetition is recognised as one."""
    scripted_broker.create_topic("quotes")
    async with producer(scripted_broker) as sender:
        await sender.send_and_wait("quotes", b"1")
        with scripted_broker.add_rule("Produce", disconnect="after", times=1) as rule:
            metadata = await sender.send_and_wait("quotes", b"2")
        assert rule.hits == 1
        await sender.send_and_wait("quotes", b"3")
    assert metadata.offset == 1
    produced = [one.batches[0] for one in scripted_broker.requests("Produce")]
    assert [(one.first_sequence, one.error) for one in produced] == [(0, 0), (1, 0), (1, 0), (2, 0)]
    assert values(scripted_broker, "quotes") == [b"1", b"2", b"3"]


def test_a_connection_closed_before_the_work_leaves_nothing(scripted_broker: ScriptedBroker) -> None:
    """The request is not carried out, and other connections stay open."""
    scripted_broker.create_topic("quotes")
    with connected(scripted_broker) as client, connected(scripted_broker) as other:
        other.new_producer()
        with scripted_broker.add_rule("Produce", disconnect="before"), pytest.raises(ConnectionError):
            client.produce(("quotes", 0, batch(b"1")))
        other.new_producer()
    assert values(scripted_broker, "quotes") == []


def test_a_request_that_is_too_large_ends_its_connection(scripted_broker: ScriptedBroker) -> None:
    """As a broker does beyond ``socket.request.max.bytes``."""
    scripted_broker.create_topic("quotes")
    scripted_broker.add_rule("Produce", request_larger_than_bytes=500, disconnect="before")
    with connected(scripted_broker) as client:
        client.produce(("quotes", 0, batch(b"1")))
        with pytest.raises(ConnectionError):
            client.produce(("quotes", 0, batch(bytes(500))))
    assert values(scripted_broker, "quotes") == [b"1"]


async def test_a_delayed_answer_is_released_with_its_rule(scripted_broker: ScriptedBroker) -> None:
    """The work is done and other connections are served while an answer waits, until its rule is removed."""
    scripted_broker.create_topic("quotes")
    rule = scripted_broker.add_rule("Produce", delay_seconds=600)
    with connected(scripted_broker) as client:
        waiting = asyncio.create_task(asyncio.to_thread(client.produce, ("quotes", 0, batch(b"1"))))
        await eventually(lambda: rule.hits, "the request is there")
        assert await asyncio.to_thread(values, scripted_broker, "quotes") == [b"1"]
        assert not waiting.done()
        rule.remove()
        answer = await waiting
    assert answer["quotes", 0]["error"] == 0


def test_a_delay_ends_by_itself(scripted_broker: ScriptedBroker) -> None:
    """An answer delayed for a short time comes though the rule stays."""
    rule = scripted_broker.add_rule("InitProducerId", delay_seconds=0.01)
    with connected(scripted_broker) as client:
        client.new_producer()
    assert rule.hits == 1


def test_requests_of_other_kinds_are_answered_with_errors(scripted_broker: ScriptedBroker) -> None:
    """The error stands at the top of the response, at the topic, or at the partition, whichever it has."""
    scripted_broker.create_topics(["quotes", "trades"], partitions=2)
    with connected(scripted_broker) as client:
        with scripted_broker.add_rule("initproducerid", error=COORDINATOR_NOT_AVAILABLE):
            assert client.ask(InitProducerIdRequest_v0(None, 1000)).error_code == COORDINATOR_NOT_AVAILABLE
        with scripted_broker.add_rule("ApiVersions", error=35):
            assert client.ask(ApiVersionRequest_v0()).error_code == 35
        with scripted_broker.add_rule("Metadata", topic="quotes", error=TOPIC_AUTHORIZATION_FAILED) as rule:
            assert topic_errors(client, ["quotes", "trades"]) == {"quotes": 29, "trades": 0}
            assert topic_errors(client, None) == {"quotes": 29, "trades": 0}
            assert topic_errors(client, ["trades"]) == {"trades": 0}
            assert rule.hits == 2
        with scripted_broker.add_rule("Metadata", error=INVALID_TOPIC):
            assert topic_errors(client, ["quotes", "trades"]) == {"quotes": 17, "trades": 17}
        with scripted_broker.without_leader("quotes", 1):
            assert leaders(client, "quotes") == {0: (0, 0), 1: (5, -1)}
            assert client.produce(("quotes", 1, batch(b"1")))["quotes", 1]["error"] == 6
        assert leaders(client, "quotes") == {0: (0, 0), 1: (0, 0)}


def topic_errors(client: Client, topics: list[str] | None) -> dict[str, int]:
    answer = client.ask(MetadataRequest_v5(topics=topics, allow_auto_topic_creation=False))
    return {name: error for error, name, _, _ in answer.topics}


def leaders(client: Client, topic: str) -> Mapping[int, tuple[int, int]]:
    """Return the error and the leader of each partition."""
    [(_, _, _, partitions)] = client.ask(MetadataRequest_v5(topics=[topic], allow_auto_topic_creation=False)).topics
    return {number: (error, leader) for error, number, leader, *_ in partitions}


async def test_errors_reach_a_producer_as_its_own(scripted_broker: ScriptedBroker) -> None:
    """A client under test raises what the field calls the codes."""
    scripted_broker.create_topics(["quotes", "trades"])
    async with producer(scripted_broker) as sender:
        with scripted_broker.add_rule("Produce", topic="quotes", error=TOPIC_AUTHORIZATION_FAILED):
            with pytest.raises(TopicAuthorizationFailedError):
                await sender.send_and_wait("quotes", b"1")
        with scripted_broker.add_rule("Produce", topic="trades", error=INVALID_TOPIC):
            with pytest.raises(InvalidTopicError):
                await sender.send_and_wait("trades", b"1")


def test_requests_are_counted(scripted_broker: ScriptedBroker) -> None:
    """Each request is recorded with its size, its topics and its batches; a mark divides earlier from later ones."""
    scripted_broker.create_topics(["quotes", "trades"])
    with connected(scripted_broker) as client:
        identity = client.new_producer()
        mark = scripted_broker.request_count
        raw = batch(b"1", b"2", producer=identity, epoch=0, sequence=0)
        client.produce(("quotes", 0, raw), ("trades", 0, raw))
        for topics, allowed in ((["quotes"], True), ([], False), (None, False)):
            client.ask(MetadataRequest_v5(topics=topics, allow_auto_topic_creation=allowed))
        assert scripted_broker.connections() == (1, 1)
    assert [one.key for one in scripted_broker.requests()] == ["InitProducerID", "Produce", *["Metadata"] * 3]
    assert len(scripted_broker.requests("InitProducerId")) == 1
    [produced] = scripted_broker.requests("Produce", since=mark)
    assert (produced.version, produced.node, produced.client_id) == (8, 0, "a test")
    assert produced.topics == ("quotes", "trades")
    assert 2 * len(raw) < produced.bytes < 2 * len(raw) + 100
    first = produced.batches[0]
    assert (first.topic, first.partition, first.bytes, first.records) == ("quotes", 0, len(raw), 2)
    assert (first.producer_id, first.producer_epoch, first.first_sequence, first.error) == (identity, 0, 0, 0)
    asked = [(one.topics, one.allow_auto_topic_creation) for one in scripted_broker.requests("Metadata", since=mark)]
    assert asked == [(("quotes",), True), ((), False), (None, False)]


@pytest.mark.parametrize("scripted_broker", [2], indirect=True)
async def test_leaders_move_and_topics_go(scripted_broker: ScriptedBroker) -> None:
    """A producer follows a partition to its new leader, and fails for a topic that is deleted."""
    scripted_broker.create_topic("quotes")
    async with producer(scripted_broker, request_timeout_ms=1000) as sender:
        await sender.send_and_wait("quotes", b"1")
        other = 1 - scripted_broker.leader_of("quotes", 0)
        scripted_broker.move_leader("quotes", 0, other)
        await sender.send_and_wait("quotes", b"2")
        assert scripted_broker.requests("Produce")[-1].node == other == scripted_broker.leader_of("quotes", 0)
        assert values(scripted_broker, "quotes") == [b"1", b"2"]
        scripted_broker.delete_topic("quotes")
        assert scripted_broker.leader_of("quotes", 0) == -1
    with connected(scripted_broker) as client:
        assert topic_errors(client, ["quotes"]) == {"quotes": UNKNOWN_TOPIC_OR_PARTITION}


def test_a_rule_may_change_what_brokers_say_of_themselves(scripted_broker: ScriptedBroker) -> None:
    """Other versions of requests, addresses and controllers are announced until the rules are removed."""
    produce, init_producer_id, metadata = 0, 22, MetadataRequest_v5([], False)  # noqa: FBT003 - as in the schema
    rules = [
        scripted_broker.add_rule("ApiVersions", versions={"Produce": (2, 6), "InitProducerId": (0, -1)}),
        scripted_broker.add_rule("Metadata", advertised={0: "elsewhere:9"}, controller=-1),
    ]
    with connected(scripted_broker) as client:
        versions = {key: span for key, *span in client.ask(ApiVersionRequest_v0()).api_versions}
        changed = client.ask(metadata)
        for rule in rules:
            rule.remove()
        usual = client.ask(metadata)
    assert versions[produce] == [2, 6]
    assert init_producer_id not in versions
    assert ([broker[:3] for broker in changed.brokers], changed.controller_id) == ([(0, "elsewhere", 9)], -1)
    host, port = scripted_broker.addresses[0].split(":")
    assert ([broker[:3] for broker in usual.brokers], usual.controller_id) == ([(0, host, int(port))], 0)


async def test_the_publisher_publishes_through_it(scripted_broker: ScriptedBroker, topic_prefix: str) -> None:
    """The bridge's publisher delivers every record though an answer is lost and a leader is missing for a moment."""
    names = [f"{topic_prefix}.{topic}" for topic in Topic]
    scripted_broker.create_topics(names)
    quotes = f"{topic_prefix}.{Topic.QUOTES}"
    expected = [b"record %d" % number for number in range(6)]
    async with publishing(scripted_broker.bootstrap_servers, topic_prefix) as bridge:
        queue = bridge.buffer.queue_for(Topic.QUOTES, b"AAPL")
        scripted_broker.add_rule("Produce", topic=quotes, disconnect="after", after=1, times=1)
        scripted_broker.add_rule("Produce", topic=quotes, error=6, after=3, times=1)
        for value in expected:
            bridge.buffer.add(queue, (0, b"AAPL", value, None))
            await bridge.publisher.drained()
    assert values(scripted_broker, *names) == expected
    assert len(scripted_broker.requests("InitProducerId")) == 1


def test_commands_that_fail_say_why(scripted_broker: ScriptedBroker) -> None:
    """What the program cannot do, and its end, are errors that say so."""
    with pytest.raises(ScriptedBrokerError, match="no request is called Prodcue"):
        scripted_broker.add_rule("Prodcue")
    with pytest.raises(ScriptedBrokerError, match="UNKNOWN_TOPIC_OR_PARTITION"):
        scripted_broker.delete_topic("quotes")
    with pytest.raises(ScriptedBrokerError, match="no such command"):
        scripted_broker.command("explode")


def test_the_go_files_are_formatted() -> None:
    """Gofmt would change nothing."""
    if shutil.which("gofmt") is None:
        pytest.skip("gofmt is not installed")
    listed = subprocess.run(["gofmt", "-l", str(MODULE)], capture_output=True, text=True, check=True)
    assert listed.stdout == ""
