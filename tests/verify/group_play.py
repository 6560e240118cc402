"""Steps that a group of processes may go through, drawn at random."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.verify.shard_group import SECOND, SHARDS, SYMBOLS, Process, ShardGroup

Step = tuple[str, int, int, bool]

KINDS = ("publish", "publish", "publish", "release", "expire", "reconnect", "heartbeat", "kill", "stop")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.integers(0, SHARDS - 1),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=40,
)
CLOCKS = st.lists(st.integers(-SECOND // 2, SECOND // 2), min_size=3, max_size=3)


class Play:
    """A group of three instances that goes through steps; every shard has an owner after each."""

    def __init__(self, clocks: list[int]) -> None:
        self.group = ShardGroup()
        self.processes = [Process(name, clock) for name, clock in zip("abc", clocks, strict=True)]
        self.late = 0
        for shard in range(SHARDS):
            self.group.claim(self.processes[shard], shard)

    def step(self, kind: str, shard: int, to: int, *, is_late: bool) -> None:
        group = self.group
        process = group.owner(shard)
        group.now_us += 10_000
        match kind:
            case "publish":
                group.publish(shard, *SYMBOLS[shard][: 1 + is_late])
            case "release" if self.processes[to] is not process:
                group.release(shard, f"claimed by {self.processes[to].name}")
                group.claim(self.processes[to], shard)
            case "expire" if self.processes[to] is not process:
                self.expire(process, [shard], self.processes[to], is_late=is_late)
                group.notice_expired(process, shard, dropped=4 * is_late)
            case "reconnect":
                group.reconnect(process)
            case "heartbeat":
                group.heartbeat(process)
            case "kill":
                index = self.processes.index(process)
                self.processes[index] = Process(process.name, process.clock_us)
                self.expire(process, list(process.sessions), self.processes[to], is_late=is_late)
            case "stop":
                shards = list(process.sessions)
                group.stop(process)
                self.processes[self.processes.index(process)] = Process(process.name, process.clock_us)
                for one in shards:
                    group.claim(self.processes[to], one)

    def expire(self, process: Process, shards: list[int], to: Process, *, is_late: bool) -> None:
        """Let leases expire; a batch of the first may be on its way, and arrive before or after the next owner's."""
        in_flight = self.group.read(process, shards[0]) if is_late else []
        for shard in shards:
            self.group.expire(shard)
        for shard in shards:
            self.group.claim(to, shard)
        self.group.publish(shards[0])
        for record in in_flight:
            self.group.write(*record)
        self.late += len(in_flight)
