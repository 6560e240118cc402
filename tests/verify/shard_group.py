"""Processes that hand shards to each other, as their records show it to a checker."""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.aries.subscriptions.shards import shard_of
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from bridge.verify.checker import Checker, Scope
from bridge.verify.violations import Place

START = 1_701_450_000_000_000
SECOND = 1_000_000
NAMES = {topic: f"aries.{topic}" for topic in Topic}
COUNTS = {Topic.TRADES: 1, Topic.TIMESALES: 1, Topic.CONTROL: 1}
SHARDS = 3
_NAMES = [f"S{number}" for number in range(20)]
#: Two symbols of each shard.
SYMBOLS = {shard: [name for name in _NAMES if shard_of(name, SHARDS) == shard][:2] for shard in range(SHARDS)}

Header = tuple[bytes, int, int, int, bool]


@dataclass
class Process:
    """One start of an instance, with the sessions of the shards that it owns."""

    name: str
    #: By how much its clock is ahead.
    clock_us: int = 0
    accounts: Accounts = field(default_factory=Accounts)
    sessions: dict[int, int] = field(default_factory=dict)
    last_session: int | None = None
    #: The next ``seq`` by session, topic and symbol.
    seqs: dict[tuple[int, Topic, str], int] = field(default_factory=dict)


@dataclass
class Owner:
    """The newest mark of a shard: who had it last."""

    process: Process | None = None
    former: str | None = None
    is_expired: bool = False
    #: The largest session of the shard.
    session: int = 0
    last_data_us: int | None = None


class ShardGroup:
    """Processes, the shards that they own, and the topics that a checker reads meanwhile."""

    def __init__(self, *, strict: bool = False) -> None:
        self.checker = Checker(NAMES, Scope(COUNTS, strict=strict))
        self.partitions = {topic: self.checker.partition(topic, 0) for topic in COUNTS}
        self.owners = {shard: Owner() for shard in range(SHARDS)}
        self.now_us = START
        #: The number of shards in force.
        self.shards = SHARDS
        #: All records in the order in which they were written.
        self.written: list[tuple[Topic, dict[str, object]]] = []
        self._offset = 0

    # -- the owner's doing -----------------------------------------------------------------------------------------

    def claim(self, process: Process, shard: int) -> None:
        """Let a process take a shard that no process owns, and begin a session."""
        owner = self.owners[shard]
        if owner.former is None:
            reason = "first owner"
        else:
            reason = f"lease of {owner.former} expired" if owner.is_expired else f"released by {owner.former}"
        self.control(process, "SHARD_CLAIMED", shard, process.last_session, reason, gap_from_us=owner.last_data_us)
        if owner.former is not None:
            self.control(process, "GAP", shard, None, reason)
        owner.process = process
        self.begin_session(process, shard)

    def begin_session(self, process: Process, shard: int, session: int | None = None) -> None:
        """Let a process begin a session of a shard, larger than all before."""
        owner = self.owners[shard]
        session = session or max(self.time_us(process), owner.session + 1, (process.last_session or 0) + 1)
        process.sessions[shard] = process.last_session = owner.session = session
        self.control(process, "SESSION_STARTED", shard, session)
        self.control(process, "SUBSCRIBED", shard, session)
        self.control(process, "RESUMED", shard, session)

    def reconnect(self, process: Process) -> None:
        """Let a process lose its connection: all its shards get one new session."""
        for shard, session in process.sessions.items():
            self.control(process, "GAP", shard, session, "network")
        session = max([self.time_us(process), (process.last_session or 0) + 1])
        session = max([session, *(self.owners[shard].session + 1 for shard in process.sessions)])
        for shard in list(process.sessions):
            self.begin_session(process, shard, session)

    def release(self, shard: int, reason: str = "stopped") -> None:
        """Let the owner hand its shard back: everything that it has read is written."""
        owner = self.owners[shard]
        process = self.owner(shard)
        self.control(process, "SHARD_RELEASED", shard, process.sessions.pop(shard), reason)
        owner.process, owner.former, owner.is_expired = None, process.name, False

    def expire(self, shard: int) -> Process:
        """Let the lease of a shard expire; its owner knows nothing of it yet."""
        owner = self.owners[shard]
        process = self.owner(shard)
        self.now_us += 5 * SECOND
        owner.process, owner.former, owner.is_expired = None, process.name, True
        return process

    def notice_expired(self, process: Process, shard: int, dropped: int = 0) -> None:
        """Let a former owner notice that it is none any more, and drop what it holds."""
        process.accounts.lines_received += dropped
        process.accounts.dropped[Topic.TRADES, "lease_lost"] += dropped
        self.control(process, "SHARD_RELEASED", shard, process.sessions.pop(shard), "lease expired")

    def heartbeat(self, process: Process) -> None:
        for shard, session in process.sessions.items():
            self.control(process, "HEARTBEAT", shard, session)

    def stop(self, process: Process) -> None:
        """Let a process hand its shards back and end."""
        for shard in list(process.sessions):
            self.release(shard)
        self.control(process, "SESSION_COMPLETED", 0, process.last_session, "stopped")

    def publish(self, shard: int, *symbols: str) -> None:
        """Let the owner read and write a trade and an execution of each symbol of a shard."""
        process = self.owner(shard)
        for header, topic in self.read(process, shard, *symbols):
            self.write(header, topic, process)

    # -- the records -----------------------------------------------------------------------------------------------

    def read(self, process: Process, shard: int, *symbols: str) -> list[tuple[Header, Topic]]:
        """Return what a process makes of what it reads, by its session of the shard."""
        session, records = process.sessions[shard], []
        for topic in (Topic.TRADES, Topic.TIMESALES):
            for symbol in symbols or SYMBOLS[shard]:
                self.now_us += 1000
                seq = process.seqs.get((session, topic, symbol), 0)
                process.seqs[session, topic, symbol] = seq + 1
                self.owners[shard].last_data_us = self.time_us(process)
                header = symbol.encode(), self.time_us(process), session, seq, seq == 0
                records.append((header, topic))
        return records

    def write(self, header: Header, topic: Topic, process: Process | None = None) -> None:
        """Write a record, acknowledged if a process is named."""
        self._offset += 1
        if process is not None:
            process.accounts.lines_received += 1
            process.accounts.published[topic] += 1
        names = ("ingest_time_us", "session_id", "seq", "after_gap")
        self.written.append((topic, {"symbol": header[0].decode(), **dict(zip(names, header[1:], strict=True))}))
        self.partitions[topic].check(self._offset, header[1] // 1000, header[0], repr(header).encode(), header)

    def control(
        self, process: Process, kind: str, shard: int, session: int | None, reason: str | None = None, **more: object
    ) -> None:
        self.now_us += 1000
        self._offset += 1
        record: dict[str, object] = {
            "kind": kind,
            "instance": process.name,
            "group": "g",
            "shard": shard,
            "shards": self.shards,
            "session_id": session,
            "time_us": self.time_us(process),
            "gap_from_us": None,
            "gap_to_us": None,
            "reason": reason,
            "counts": process.accounts.totals(),
            **more,
        }
        self.written.append((Topic.CONTROL, record))
        self.checker.control(Place("aries.control", 0, self._offset), record)

    # -- facts -----------------------------------------------------------------------------------------------------

    def owner(self, shard: int) -> Process:
        process = self.owners[shard].process
        assert process is not None
        return process

    def time_us(self, process: Process) -> int:
        return self.now_us + process.clock_us

    def found(self, after_us: int = 3600 * SECOND) -> list[str]:
        """Settle so long after the last record, and return all violations as text."""
        self.checker.settle(self.now_us + after_us)
        return [str(violation) for violation in self.checker.violations.kept]
