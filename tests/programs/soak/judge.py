"""The judge of a soak: it compares what was sent, what the bridge reported, and what the topics hold.

Everything here is pure: it takes what the run has collected, and returns what does not fit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.topics import Topic
    from tests.programs.soak.connection_log import Connection
    from tests.programs.soak.resource_usage import ResourceUsage
    from tests.programs.soak.topic_contents import TopicContents

#: What Python and the libraries may keep beyond the buffer after it was full once.
SPARE_BYTES = 48 << 20
#: Connections to brokers, one to Aries, one to the token endpoint, one that asks for /status.
SPARE_FILES = 10
#: Threads that Python starts for name resolution.
SPARE_THREADS = 8
SPARE_TASKS = 12
#: … and in a group, where a standby becomes an owner: six for Aries (the client, what it waits for, keep-alive,
#: receiver, the end of the socket, renewal), two of the client that writes marks, a mark on its way for each of four
#: shards, and three connections that brokers had closed as idle. Counted over 30 hand-overs, nothing stays.
SPARE_TASKS_OF_MEMBERS = 15
#: … for each broker beyond the first: a standby may need one connection for each of its five clients of Kafka, and an
#: owner one to each broker, and it fetches marks from each. A connection is a task, and so is a fetch.
SPARE_TASKS_OF_BROKER = 6
#: Samples in the steady state that are compared at the beginning and the end of a process.
SAMPLES = 5
#: Accounts of what was sent and numbered, and is not on its topic.
_LOST = ("dropped", "undelivered", "dead_lettered", "conflated")


@dataclass(frozen=True)
class ProcessRecord:
    """A process of the bridge as it was observed."""

    number: int
    began_us: int
    sessions: Sequence[int]
    #: Its accounts as logged at its end; None: it could not log them.
    stopped: Mapping[str, int] | None
    exit_code: int | None
    signals: Sequence[str]
    shutdown_seconds: float
    budget_bytes: int
    usage: Sequence[ResourceUsage] = ()
    #: Output that none of these faults explains.
    unexpected_output: Sequence[str] = ()
    #: Symbols that were unsubscribed at times: of lines that were on their way then, it may have made no record.
    changed_symbols: frozenset[str] = frozenset()

    @property
    def was_killed(self) -> bool:
        """Return whether it could not shut down."""
        return "SIGKILL" in self.signals


@dataclass
class Interval:
    """The connections of a process between two announced losses, and how many lines were read from them."""

    connections: list[Connection] = field(default_factory=list)
    #: None if they are unknown.
    lines: int | None = None

    @property
    def numbers(self) -> list[int]:
        """Return the connections' numbers."""
        return [one.number for one in self.connections]


def judge(
    processes: Sequence[ProcessRecord],
    connections: Sequence[Connection],
    contents: TopicContents,
    *,
    exit_seconds: float,
) -> list[str]:
    """Return all problems, apart from what ``aries-bridge verify`` finds."""
    problems = []
    for process, own in zip(processes, _by_process(processes, connections), strict=True):
        found = [
            *_judge_end(process, exit_seconds),
            *_judge_accounts(process, own, contents),
            *_judge_lines(process, own, contents),
            *_judge_records(process, own, contents),
            *_judge_resource_usage(process),
            *process.unexpected_output,
        ]
        problems += [f"process {process.number}: {problem}" for problem in found]
    return [*problems, *_judge_unknown_sessions(processes, contents)]


def judge_group(
    processes: Sequence[ProcessRecord],
    contents: TopicContents,
    *,
    late_records: int,
    exit_seconds: float,
    brokers: int,
) -> list[str]:
    """Return all problems of processes that share shards, apart from what ``aries-bridge verify`` finds.

    What each of them was sent is not known; ``late_records`` is what ``verify`` takes for the last records of owners
    whose leases had ended.
    """
    problems = []
    spare_tasks = SPARE_TASKS_OF_MEMBERS + (brokers - 1) * SPARE_TASKS_OF_BROKER
    for process in processes:
        found = [
            *_judge_end(process, exit_seconds),
            *_judge_last_accounts(process, contents, dropped="dropped"),
            *_judge_resource_usage(process, spare_tasks=spare_tasks),
            *process.unexpected_output,
        ]
        problems += [f"process {process.number}: {problem}" for problem in found]
    if contents.late != late_records:
        problems.append(
            f"{contents.late} records come behind newer sessions of their symbols, verify says {late_records}"
        )
    return [*problems, *_judge_unknown_sessions(processes, contents)]


def _by_process(processes: Sequence[ProcessRecord], connections: Iterable[Connection]) -> list[list[Connection]]:
    begins = [process.began_us for process in processes]
    found: list[list[Connection]] = [[] for _ in processes]
    for one in connections:
        found[max(0, bisect_right(begins, one.connected_us) - 1)].append(one)
    return found


# -- how it ended ------------------------------------------------------------------------------------------------------


def _judge_end(process: ProcessRecord, exit_seconds: float) -> Iterable[str]:
    if process.was_killed:
        return
    if not process.signals:
        yield f"it exited by itself, with code {process.exit_code}"
        return
    if process.exit_code is None or process.shutdown_seconds > exit_seconds:
        yield f"it did not end within {exit_seconds:g} s of {' and '.join(process.signals)}"
    elif process.exit_code != (4 if (process.stopped or {}).get("undelivered") else 0):
        yield f"its exit code is {process.exit_code}, its last accounts are {process.stopped}"


# -- accounts ----------------------------------------------------------------------------------------------------------


def _judge_accounts(process: ProcessRecord, own: Sequence[Connection], contents: TopicContents) -> Iterable[str]:
    """Compare the records of a process on Kafka with its last accounts."""
    found = sum(contents.found[session] for session in process.sessions)
    sent = sum(sum(one.records.values()) for one in own)
    if found > sent:
        yield f"the topics hold {found} records of it, but it was sent {sent}"
    yield from _judge_last_accounts(process, contents)


def _judge_last_accounts(
    process: ProcessRecord, contents: TopicContents, *, dropped: str | None = None
) -> Iterable[str]:
    """Compare the last accounts with the topics; some of what a process dropped may be there, as it was on its way."""
    if process.stopped is None:
        return
    found = sum(contents.found[session] for session in process.sessions)
    counts = process.stopped
    read = counts["lines_received"] + counts["split"]
    accounted = sum(count for name, count in counts.items() if name not in ("lines_received", "split"))
    if read != accounted or counts["pending"]:
        yield f"its last accounts do not add up: {counts}"
    most = counts["published"] + counts["undelivered"] + (counts[dropped] if dropped else 0)
    if not counts["published"] <= found <= most:
        yield f"the topics hold {found} records of it, its last accounts are {counts}"


def _judge_lines(process: ProcessRecord, own: Sequence[Connection], contents: TopicContents) -> Iterable[str]:
    """Compare the lines read with the lines sent, from one loss of the connection to the next."""
    for interval in intervals(process, own, contents):
        sent = sum(one.lines for one in interval.connections)
        if interval.lines is None:
            continue
        if interval.lines > sent:
            yield f"it read {interval.lines} lines on connections {interval.numbers}, of {sent} sent"
        elif interval.lines < sent and all(one.in_order for one in interval.connections):
            message = f"it read only {interval.lines} lines of {sent} sent on connections {interval.numbers}"
            yield f"{message}, which all ended in order behind their last line"


def intervals(process: ProcessRecord, own: Sequence[Connection], contents: TopicContents) -> list[Interval]:
    """Return the connections of a process, divided where accounts are known: at each announced loss."""
    losses = {record.session_id: record.counts["lines_received"] for record in contents.control if record.kind == "GAP"}
    rest, before = deque(own), 0
    found, present = [], Interval()
    for connection, sessions in _visits(process, own):
        while rest and rest[0].number <= connection.number:
            present.connections.append(rest.popleft())
        if sessions[-1] in losses:
            read = losses[sessions[-1]]
            present.lines, before = read - before, read
            found.append(present)
            present = Interval()
    present.connections += rest
    present.lines = None if process.stopped is None else process.stopped["lines_received"] - before
    return [*found, present]


def _visits(process: ProcessRecord, own: Sequence[Connection]) -> list[tuple[Connection, list[int]]]:
    """Return the connections that became sessions: one each, or more if sessions expired and were renewed.

    A session begins when its connection is there, and before there is another.
    """
    found: list[tuple[Connection, list[int]]] = []
    for session_id in process.sessions:
        connection = next((one for one in reversed(own) if one.connected_us <= session_id), None)
        if connection is None:
            continue  # see _judge_records
        if found and found[-1][0] is connection:
            found[-1][1].append(session_id)
        else:
            found.append((connection, [session_id]))
    return found


def _judge_records(process: ProcessRecord, own: Sequence[Connection], contents: TopicContents) -> Iterable[str]:
    """Compare the sequence numbers of each connection and symbol with what was sent: no more, and the last ones."""
    if process.sessions and (not own or process.sessions[0] < own[0].connected_us):
        yield f"it began session {process.sessions[0]}, but no connection was there"
    next_seqs: dict[int, dict[tuple[Topic, str], int]] = defaultdict(dict)
    for (session_id, topic, symbol), next_seq in contents.next_seqs.items():
        next_seqs[session_id][topic, symbol] = next_seq
    missing_at_ends = missing_of_changed = 0
    changed = process.changed_symbols
    for connection, sessions in _visits(process, own):
        numbered: Counter[tuple[Topic, str]] = Counter()
        for session_id in sessions:
            numbered.update(next_seqs[session_id])
        for place, next_seq in numbered.items():
            if next_seq > (sent := connection.records.get(place, 0)):
                yield f"{next_seq} records of {place} are numbered on connection {connection.number}, of {sent} sent"
        if connection.in_order:
            missing = {place: count - numbered[place] for place, count in connection.records.items()}
            missing_at_ends += sum(missing.values())
            missing_of_changed += sum(count for (_, symbol), count in missing.items() if symbol in changed)
    if process.stopped is None:
        return
    allowed = sum(process.stopped[name] for name in _LOST) + min(missing_of_changed, process.stopped["filtered"])
    if missing_at_ends > allowed:
        yield f"{missing_at_ends} records are missing at the ends of its sessions, of which {allowed} are accounted for"


def _judge_unknown_sessions(processes: Sequence[ProcessRecord], contents: TopicContents) -> Iterable[str]:
    known = {session for process in processes for session in process.sessions}
    for session_id in contents.found.keys() - known:
        yield f"the topics hold {contents.found[session_id]} records of session {session_id}, which no process began"


# -- memory, files, threads --------------------------------------------------------------------------------------------


def _judge_resource_usage(process: ProcessRecord, *, spare_tasks: int = SPARE_TASKS) -> Iterable[str]:
    steady = [seen for seen in process.usage if seen.steady]
    if len(steady) < 2 * SAMPLES:
        return
    first, last = steady[:SAMPLES], steady[-SAMPLES:]
    for what, spare in (
        ("rss_bytes", process.budget_bytes + SPARE_BYTES),
        ("files", SPARE_FILES),
        ("threads", SPARE_THREADS),
        ("tasks", spare_tasks),
    ):
        then, now = _typical(first, what), _typical(last, what)
        if then is not None and now is not None and now > then + spare:
            yield f"{what} has grown from {then:,.0f} to {now:,.0f}, more than {spare:,}"
    ceiling = median(seen.rss_bytes for seen in first) + 2 * process.budget_bytes + SPARE_BYTES
    highest = max(seen.rss_bytes for seen in process.usage)
    if highest > ceiling:
        yield f"its memory has reached {highest:,} bytes with a budget of {process.budget_bytes:,}"


def _typical(samples: Sequence[ResourceUsage], what: str) -> float | None:
    values: list[Any] = [getattr(seen, what) for seen in samples]
    return None if None in values else median(values)
