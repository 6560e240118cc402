"""Queues: order, budget and accounts, whatever happens to batches in flight."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.kafka.partitioner import partition
from bridge.pipeline.accounts import Accounts
from bridge.pipeline.partition_queue import size_of
from bridge.pipeline.record_buffer import RecordBuffer
from bridge.topics import Topic, topic_names

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import PartitionQueue, Record

NAMES = topic_names("t", {})


def opened(budget_bytes: int = 1 << 20) -> tuple[RecordBuffer, Accounts]:
    accounts = Accounts()
    buffer = RecordBuffer(NAMES, accounts, budget_bytes, partition=partition)
    buffer.open({Topic.QUOTES: 2, Topic.DLQ: 1, Topic.CONTROL: 1})
    return buffer, accounts


def record(key: bytes, value: bytes, reason: str | None = None) -> Record:
    return 1, key, value, reason


def test_a_queue_is_ready_once_until_its_batch_is_acknowledged() -> None:
    """A queue with a batch in flight is not offered to the sender again, however much is added."""
    buffer, accounts = opened()
    queue = buffer.queue_for(Topic.QUOTES, b"AAPL")
    buffer.add(queue, record(b"AAPL", b"1"))
    assert buffer.take_ready() == [queue]
    buffer.start_batch(queue, 1, now=0)
    buffer.add(queue, record(b"AAPL", b"2"))
    assert buffer.take_ready() == []
    buffer.acknowledge(queue)
    assert buffer.take_ready() == [queue]
    assert accounts.published[Topic.QUOTES] == 1


def test_the_oldest_record_that_is_not_acknowledged() -> None:
    """It counts until its batch is acknowledged, also if that is sent again; control records do not."""
    buffer, _ = opened()
    queue = buffer.queue_for(Topic.QUOTES, b"AAPL")
    buffer.add(buffer.queue_for(Topic.CONTROL, b"me"), (1, b"me", b"x", None))
    assert buffer.oldest_unacknowledged_us() is None
    for time_us in (5, 6):
        buffer.add(queue, (time_us, b"AAPL", b"1", None))
    buffer.take_ready()
    buffer.start_batch(queue, 1, now=0)
    assert buffer.oldest_unacknowledged_us() == 5
    buffer.requeue()
    buffer.start_batch(queue, 1, now=0)
    buffer.acknowledge(queue)
    assert buffer.oldest_unacknowledged_us() == 6


def test_the_same_key_always_has_the_same_lane() -> None:
    """A symbol stays on its partition."""
    buffer, _ = opened()
    assert buffer.queue_for(Topic.QUOTES, b"AAPL") is buffer.queue_for(Topic.QUOTES, b"AAPL")


def test_control_records_stay_outside_the_accounts_of_lines() -> None:
    """Our own records are announced, not published: they were never lines."""
    buffer, accounts = opened()
    queue = buffer.queue_for(Topic.CONTROL, b"me")
    buffer.add(queue, record(b"me", b"x"))
    assert accounts.pending == 0
    buffer.start_batch(queue, 1, now=0)
    buffer.acknowledge(queue)
    assert (accounts.announced, accounts.published.total()) == (1, 0)


def test_dead_letters_are_counted_by_reason_when_they_are_acknowledged() -> None:
    """A dead letter is pending until Kafka has it, and then in the account of its reason."""
    buffer, accounts = opened()
    queue = buffer.queue_for(Topic.DLQ, None)
    buffer.add(queue, record(b"", b"x", "not_json"))
    assert (accounts.pending, accounts.dead_lettered.total()) == (1, 0)
    buffer.start_batch(queue, 1, now=0)
    buffer.acknowledge(queue)
    assert (accounts.pending, dict(accounts.dead_lettered)) == (0, {"not_json": 1})


def test_room_is_what_the_budget_leaves() -> None:
    """Records count with their overhead, from the moment they are read until they are acknowledged."""
    first = record(b"AAPL", b"x" * 100)
    buffer, accounts = opened(budget_bytes=size_of(first))
    queue = buffer.queue_for(Topic.QUOTES, b"AAPL")
    assert [buffer.offer(queue, first), buffer.offer(queue, first)] == [True, False]
    buffer.take_ready()
    buffer.start_batch(queue, 1, now=0)
    assert not buffer.offer(queue, first)
    buffer.acknowledge(queue)
    assert buffer.offer(queue, first)
    assert (accounts.published.total(), accounts.pending) == (1, 1)


def test_the_records_of_some_symbols_are_dropped_wherever_they_are() -> None:
    """Waiting, in flight or set aside: they leave budget and accounts; others stay in order, dead letters, too."""
    buffer, accounts = opened()
    queue = buffer.queue_for(Topic.QUOTES, b"AAPL")
    letters = buffer.queue_for(Topic.DLQ, None)
    buffer.add(letters, record(b"AAPL", b"letter", "not_json"))
    for key, value in [(b"AAPL", b"1"), (b"MSFT", b"2"), (b"AAPL", b"3"), (b"MSFT", b"4"), (b"AAPL", b"5")]:
        buffer.add(queue, record(key, value))
    buffer.take_ready()
    buffer.start_batch(queue, 2, now=0)
    assert buffer.holds("AAPL".__eq__)
    assert buffer.drop("AAPL".__eq__, "lease_lost") == 3
    assert not buffer.holds("AAPL".__eq__)
    assert buffer.holds("MSFT".__eq__)
    assert [value for _, _, value, _ in queue.in_flight] == [b"2"]
    assert [value for _, _, value, _ in queue.waiting] == [b"4"]
    assert dict(accounts.dropped) == {(Topic.QUOTES, "lease_lost"): 3}
    assert accounts.pending == 3
    assert buffer.bytes == sum(size_of(one) for one in (*queue.in_flight, *queue.waiting, *letters.waiting))
    buffer.acknowledge(queue)
    assert accounts.published[Topic.QUOTES] == 1
    buffer.requeue()
    assert [value for _, _, value, _ in queue.waiting] == [b"4"]


def test_suspects_are_dropped_like_others() -> None:
    """A search for a record at fault ends, as some of the records may be gone."""
    buffer, accounts = opened()
    queue = buffer.queue_for(Topic.QUOTES, b"AAPL")
    for key, value in [(b"AAPL", b"1"), (b"MSFT", b"2")]:
        buffer.add(queue, record(key, value))
    queue.set_aside_first(bytes)
    assert buffer.holds("AAPL".__eq__)
    assert buffer.drop("AAPL".__eq__, "handed_over") == 1
    assert (queue.suspects, len(queue), queue.is_limited) == ([], 1, False)
    assert accounts.pending == 1


def test_whether_a_topic_has_records_left() -> None:
    """What waits and what is in flight counts."""
    buffer, _ = opened()
    assert not buffer.holds_any(Topic.CONTROL)
    queue = buffer.queue_for(Topic.CONTROL, b"me")
    buffer.add(queue, record(b"me", b"x"))
    assert buffer.holds_any(Topic.CONTROL)
    buffer.start_batch(queue, 1, now=0)
    assert buffer.holds_any(Topic.CONTROL)
    buffer.acknowledge(queue)
    assert not buffer.holds_any(Topic.CONTROL)


class LanesMachine(RuleBasedStateMachine):
    """Add, send, acknowledge and lose batches at random: what arrives is what was added, in order, once."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer, self.accounts = opened()
        self.added: dict[bytes, list[bytes]] = defaultdict(list)
        self.arrived: dict[bytes, list[bytes]] = defaultdict(list)
        self.number = 0

    @rule(key=st.sampled_from([b"A", b"B", b"C", b"D"]))
    def add(self, key: bytes) -> None:
        self.number += 1
        value = str(self.number).encode()
        self.added[key].append(value)
        self.accounts.lines_received += 1
        self.buffer.add(self.buffer.queue_for(Topic.QUOTES, key), record(key, value))

    @rule(most=st.integers(1, 3), meanwhile=st.lists(st.sampled_from([b"A", b"B", b"C", b"D"]), max_size=2))
    def send(self, most: int, meanwhile: list[bytes]) -> None:
        self.buffer.resume_deferred()
        queues = self.buffer.take_ready()
        for key in meanwhile:
            self.add(key)
        for queue in queues:
            self.buffer.start_batch(queue, min(most, len(queue.waiting)), now=0)

    @rule(sent=st.integers(0, 1))
    def lose_the_producer_while_sending(self, sent: int) -> None:
        for queue in self.buffer.take_ready()[:sent]:
            self.buffer.start_batch(queue, 1, now=0)
        self.buffer.requeue()

    @rule()
    def put_off(self) -> None:
        for queue in self.buffer.take_ready():
            self.buffer.defer(queue)

    @precondition(lambda self: any(queue.waiting and not queue.in_flight for queue in self.buffer.queues()))
    @rule()
    def refuse_the_first(self) -> None:
        queue = next(queue for queue in self.buffer.queues() if queue.waiting and not queue.in_flight)
        _, key, value, _ = self.buffer.remove_waiting(queue, 0)
        self.added[key or b""].remove(value)
        self.accounts.lines_received -= 1

    @rule(key=st.sampled_from(["A", "B", "C", "D"]))
    def drop_a_symbol_with_its_producer(self, key: str) -> None:
        self.buffer.drop(key.__eq__, "lease_lost")
        self.added[key.encode()] = self.arrived[key.encode()].copy()
        self.buffer.requeue()

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        queue = data.draw(st.sampled_from(self.in_flight()))
        for _, key, value, _ in queue.in_flight:
            self.arrived[key or b""].append(value)
        self.buffer.acknowledge(queue)

    @rule()
    def lose_the_producer(self) -> None:
        self.buffer.requeue()

    def in_flight(self) -> list[PartitionQueue]:
        return [queue for queue in self.buffer.queues() if queue.in_flight]

    @invariant()
    def nothing_overtakes_and_nothing_is_lost(self) -> None:
        for key, values in self.added.items():
            assert values[: len(self.arrived[key])] == self.arrived[key]

    @invariant()
    def accounts_and_budget_are_exact(self) -> None:
        held = [one for queue in self.buffer.queues() for one in (*queue.in_flight, *queue.waiting)]
        assert self.accounts.pending == len(held)
        assert self.buffer.bytes == sum(map(size_of, held))
        assert self.accounts.balance == 0

    @invariant()
    def whatever_can_be_sent_is_ready_once(self) -> None:
        self.buffer.resume_deferred()
        ready = self.buffer.take_ready()
        for queue in ready:
            self.buffer.defer(queue) if queue.waiting else self.buffer.pass_over(queue)
        self.buffer.resume_deferred()
        assert len(ready) == len(set(ready))
        ready = [queue for queue in ready if queue.waiting]
        for queue in self.buffer.queues():
            assert queue.is_ready == (queue in ready) == bool(queue.waiting and not queue.in_flight)

    def teardown(self) -> None:
        while not self.buffer.empty:
            self.send(1000, [])
            for queue in self.in_flight():
                for _, key, value, _ in queue.in_flight:
                    self.arrived[key or b""].append(value)
                self.buffer.acknowledge(queue)
        assert self.arrived == self.added


LanesMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLanes = LanesMachine.TestCase
