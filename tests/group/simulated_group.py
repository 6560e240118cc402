"""Processes that share shards through simulated logs: writes, answers and reads are late or lost, processes pause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.group.marks import Progress
from bridge.group.shard_locks import (
    Claimed,
    LockEvent,
    LockState,
    Lost,
    ReleaseRequested,
    ShardLocks,
)

if TYPE_CHECKING:
    from random import Random

    from bridge.group.marks import Mark

STEP_SECONDS = 0.05


@dataclass(slots=True)
class Process:
    """One process: its locks, what it has read, and what of its writes is under way."""

    name: str
    shards: int
    locks: ShardLocks
    offset_seconds: float
    read: dict[int, int] = field(default_factory=dict)
    #: Writes that have not reached the log: (arrives at, mark, sent at).
    writes: list[tuple[float, Mark, float]] = field(default_factory=list)
    #: Answers under way: (arrives at, mark, sent at, succeeded).
    answers: list[tuple[float, Mark, float, bool]] = field(default_factory=list)
    #: Shards that drain, and until when.
    draining: dict[int, float] = field(default_factory=dict)
    paused_until: float = 0.0
    cut_until: float = 0.0
    #: Until when each partition is read no further.
    lags: dict[int, float] = field(default_factory=dict)
    events: list[LockEvent] = field(default_factory=list)
    #: A read to the ends of the logs that was begun: at what time of its clock, and the ends.
    barrier: tuple[float, dict[int, int]] | None = None


class SimulatedGroup:
    """The logs of all shards, the processes, and a clock."""

    def __init__(self, random: Random, *, partitions: int) -> None:
        self.now = 0.0
        self.logs: dict[int, list[Mark]] = {number: [] for number in range(partitions)}
        self.processes: list[Process] = []
        #: Whether nothing is late any more.
        self.is_calm = False
        self._random = random
        self._started = 0

    def start(self, shards: int) -> Process:
        """Start a process, which has read nothing."""
        self._started += 1
        name = f"p{self._started}"
        locks = ShardLocks(process=name, owner=name, shards=shards, wall_clock=lambda: int(self.now * 1e6))
        process = Process(name, shards, locks, offset_seconds=self._random.uniform(0, 1000))
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        """End a process without a word; what it has written may still arrive."""
        self.processes.remove(process)
        for _, mark, _ in process.writes:
            if self._random.random() < 0.5:
                self.logs[mark.shard].append(mark)

    def step(self) -> None:
        """Let a moment pass."""
        self.now += STEP_SECONDS
        for process in self.processes:
            self._deliver(process)
            if process.paused_until <= self.now:
                self._run(process)

    def publishing(self) -> list[tuple[Process, int]]:
        """Return who may publish which shard at this moment."""
        return [
            (process, shard)
            for process in self.processes
            for shard in process.locks.owned()
            if process.locks.state(shard) is not LockState.SUSPENDED and process.locks.may_publish(self._clock(process))
        ]

    def _delay_seconds(self) -> float:
        is_late = not self.is_calm and self._random.random() < 0.1
        return self._random.uniform(0, 6) if is_late else self._random.uniform(0, 0.1)

    def _clock(self, process: Process) -> float:
        return self.now + process.offset_seconds

    def _deliver(self, process: Process) -> None:
        """Append what has arrived; answers to a process that is cut off are lost."""
        for write in [one for one in process.writes if one[0] <= self.now]:
            process.writes.remove(write)
            _, mark, sent_at = write
            is_lost = process.cut_until > self.now and self._random.random() < 0.7
            if not is_lost:
                self.logs[mark.shard].append(mark)
            succeeded = not is_lost and process.cut_until <= self.now
            process.answers.append((self.now + self._delay_seconds(), mark, sent_at, succeeded))

    def _run(self, process: Process) -> None:
        clock = self._clock(process)
        locks = process.locks
        for answer in [one for one in process.answers if one[0] <= self.now]:
            process.answers.remove(answer)
            _, mark, sent_at, succeeded = answer
            if succeeded:
                locks.written(mark, sent_at, clock)
            else:
                locks.failed(mark, clock)
        if process.cut_until <= self.now:
            self._read(process, clock)
        self._handle_events(process, clock)
        for shard, until in list(process.draining.items()):
            if until <= self.now:
                del process.draining[shard]
                locks.released(shard)
        for mark in locks.due(clock):
            process.writes.append((self.now + self._delay_seconds(), mark, clock))

    def _handle_events(self, process: Process, clock: float) -> None:
        locks = process.locks
        for event in locks.step(clock):
            process.events.append(event)
            match event:
                case Claimed(shard=shard):
                    locks.progress[shard] = Progress(int(self.now * 1e6), int(self.now * 1e6))
                case ReleaseRequested(shard=shard):
                    process.draining[shard] = self.now + self._random.uniform(0, 1)
                case Lost(shard=shard):
                    process.draining.pop(shard, None)

    def _read(self, process: Process, clock: float) -> None:
        """Read some of each log; some reads are late."""
        for number, log in self.logs.items():
            start = process.read.get(number, 0)
            if not self.is_calm and self._random.random() < 0.02:
                process.lags[number] = self.now + self._random.uniform(0, 8)
            end = start if process.lags.get(number, 0.0) > self.now else len(log)
            for mark in log[start:end]:
                process.locks.note(mark, clock)
            process.read[number] = max(start, end)
        if process.barrier is None and process.locks.needs_reading:
            process.barrier = clock, {number: len(log) for number, log in self.logs.items()}
        elif process.barrier is not None:
            since, ends = process.barrier
            if all(process.read.get(number, 0) >= end for number, end in ends.items()):
                process.locks.marks.caught_up(since, clock)
                process.barrier = None
