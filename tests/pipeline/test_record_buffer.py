"""Lanes: order, budget and accounts, whatever happens to batches in flight."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.pipeline.accounts import Accounts
from bridge.pipeline.record_buffer import Batches, size_of
from bridge.topics import Topic, topic_names

if TYPE_CHECKING:
    from bridge.pipeline.record_buffer import Lane, Record

NAMES = topic_names("t", {})


def opened(budget_bytes: int = 1 << 20) -> tuple[Batches, Accounts]:
    accounts = Accounts()
    batches = Batches(NAMES, accounts, budget_bytes)
    batches.open({Topic.QUOTES: 2, Topic.DLQ: 1, Topic.CONTROL: 1})
    return batches, accounts


def record(key: bytes, value: bytes, reason: str | None = None) -> Record:
    return 1, key, value, reason


def test_a_lane_is_announced_once_until_its_batch_has_landed() -> None:
    """A lane with a batch in flight is not offered to the sender again, however much is added."""
    batches, accounts = opened()
    lane = batches.lane_for(Topic.QUOTES, b"AAPL")
    batches.add(lane, record(b"AAPL", b"1"))
    assert batches.take_ready() == [lane]
    batches.sent(lane, 1, now=0)
    batches.add(lane, record(b"AAPL", b"2"))
    assert batches.take_ready() == []
    batches.landed(lane)
    assert batches.take_ready() == [lane]
    assert accounts.published[Topic.QUOTES] == 1


def test_the_same_key_always_has_the_same_lane() -> None:
    """A symbol stays on its partition."""
    batches, _ = opened()
    assert batches.lane_for(Topic.QUOTES, b"AAPL") is batches.lane_for(Topic.QUOTES, b"AAPL")


def test_control_records_stay_outside_the_accounts_of_lines() -> None:
    """Our own records are announced, not published: they were never lines."""
    batches, accounts = opened()
    lane = batches.lane_for(Topic.CONTROL, b"me")
    batches.add(lane, record(b"me", b"x"))
    assert accounts.pending == 0
    batches.sent(lane, 1, now=0)
    batches.landed(lane)
    assert (accounts.announced, accounts.published.total()) == (1, 0)


def test_dead_letters_are_counted_by_reason_when_they_are_acknowledged() -> None:
    """A dead letter is pending until Kafka has it, and then in the account of its reason."""
    batches, accounts = opened()
    lane = batches.lane_for(Topic.DLQ, None)
    batches.add(lane, record(b"", b"x", "not_json"))
    assert (accounts.pending, accounts.dead_lettered.total()) == (1, 0)
    batches.sent(lane, 1, now=0)
    batches.landed(lane)
    assert (accounts.pending, dict(accounts.dead_lettered)) == (0, {"not_json": 1})


def test_room_is_what_the_budget_leaves() -> None:
    """Records count with their overhead, from the moment they are read until they are acknowledged."""
    first = record(b"AAPL", b"x" * 100)
    batches, accounts = opened(budget_bytes=size_of(first))
    lane = batches.lane_for(Topic.QUOTES, b"AAPL")
    assert [batches.offer(lane, first), batches.offer(lane, first)] == [True, False]
    batches.take_ready()
    batches.sent(lane, 1, now=0)
    assert not batches.offer(lane, first)
    batches.landed(lane)
    assert batches.offer(lane, first)
    assert (accounts.published.total(), accounts.pending) == (1, 1)


class LanesMachine(RuleBasedStateMachine):
    """Add, send, acknowledge and lose batches at random: what arrives is what was added, in order, once."""

    def __init__(self) -> None:
        super().__init__()
        self.batches, self.accounts = opened()
        self.added: dict[bytes, list[bytes]] = defaultdict(list)
        self.arrived: dict[bytes, list[bytes]] = defaultdict(list)
        self.number = 0

    @rule(key=st.sampled_from([b"A", b"B", b"C", b"D"]))
    def add(self, key: bytes) -> None:
        self.number += 1
        value = str(self.number).encode()
        self.added[key].append(value)
        self.accounts.lines_received += 1
        self.batches.add(self.batches.lane_for(Topic.QUOTES, key), record(key, value))

    @rule(most=st.integers(1, 3), meanwhile=st.lists(st.sampled_from([b"A", b"B", b"C", b"D"]), max_size=2))
    def send(self, most: int, meanwhile: list[bytes]) -> None:
        lanes = self.batches.take_ready()
        for key in meanwhile:
            self.add(key)
        for lane in lanes:
            self.batches.sent(lane, min(most, len(lane.waiting)), now=0)

    @rule(sent=st.integers(0, 1))
    def lose_the_producer_while_sending(self, sent: int) -> None:
        for lane in self.batches.take_ready()[:sent]:
            self.batches.sent(lane, 1, now=0)
        self.batches.put_back()

    @rule()
    def put_off(self) -> None:
        for lane in self.batches.take_ready():
            self.batches.postpone(lane)

    @precondition(lambda self: any(lane.waiting and not lane.in_flight for lane in self.batches.lanes()))
    @rule()
    def refuse_the_first(self) -> None:
        lane = next(lane for lane in self.batches.lanes() if lane.waiting and not lane.in_flight)
        _, key, value, _ = self.batches.remove_first(lane)
        self.added[key or b""].remove(value)
        self.accounts.lines_received -= 1

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(self.in_flight()))
        for _, key, value, _ in lane.in_flight:
            self.arrived[key or b""].append(value)
        self.batches.landed(lane)

    @rule()
    def lose_the_producer(self) -> None:
        self.batches.put_back()

    def in_flight(self) -> list[Lane]:
        return [lane for lane in self.batches.lanes() if lane.in_flight]

    @invariant()
    def nothing_overtakes_and_nothing_is_lost(self) -> None:
        for key, values in self.added.items():
            assert values[: len(self.arrived[key])] == self.arrived[key]

    @invariant()
    def accounts_and_budget_are_exact(self) -> None:
        held = [one for lane in self.batches.lanes() for one in (*lane.in_flight, *lane.waiting)]
        assert self.accounts.pending == len(held)
        assert self.batches.bytes == sum(map(size_of, held))
        assert self.accounts.balance == 0

    @invariant()
    def whatever_can_be_sent_is_ready_once(self) -> None:
        ready = self.batches.take_ready()
        for lane in ready:
            self.batches.postpone(lane)
        assert len(ready) == len(set(ready))
        for lane in self.batches.lanes():
            assert lane.is_ready == (lane in ready) == bool(lane.waiting and not lane.in_flight)

    def teardown(self) -> None:
        while not self.batches.empty:
            self.send(1000, [])
            for lane in self.in_flight():
                for _, key, value, _ in lane.in_flight:
                    self.arrived[key or b""].append(value)
                self.batches.landed(lane)
        assert self.arrived == self.added


LanesMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLanes = LanesMachine.TestCase
