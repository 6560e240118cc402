"""The verdict: what was sent, what the bridge said, what the topics hold, and how its processes were.

Everything here is pure: it looks at what the run has collected, and tells what does not fit.
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
    from tests.programs.soak.census import Census
    from tests.programs.soak.connections import Connection
    from tests.programs.soak.vitals import Vitals

#: What Python and the libraries may keep beyond the buffer after it was full once.
SPARE_BYTES = 48 << 20
#: Connections to brokers, one to Aries, one to the token endpoint, one that asks for /status.
SPARE_FILES = 10
#: Python starts threads for look-ups of names when it needs them.
SPARE_THREADS = 8
SPARE_TASKS = 12
#: So many looks in calm make a beginning and an end of a life to compare.
LOOKS = 5
#: Accounts of what was sent and numbered, and is not on its topic.
_LOST = ("dropped", "undelivered", "dead_lettered", "conflated")


@dataclass(frozen=True)
class Biography:
    """Tell one process of the bridge from its outside."""

    number: int
    began_us: int
    sessions: Sequence[int]
    #: Its accounts as it said them last; None: it could not say.
    stopped: Mapping[str, int] | None
    exit_code: int | None
    signals: Sequence[str]
    dying_seconds: float
    budget_bytes: int
    vitals: Sequence[Vitals] = ()
    #: What it said that nothing of these faults explains.
    outcries: Sequence[str] = ()

    @property
    def was_killed(self) -> bool:
        """Return whether it had no chance to end in order."""
        return "SIGKILL" in self.signals


@dataclass
class Interval:
    """Hold the connections of a life from one announced loss to the next, and how many lines were read from them."""

    connections: list[Connection] = field(default_factory=list)
    #: None where nobody told.
    lines: int | None = None

    @property
    def numbers(self) -> list[int]:
        """Return the connections' numbers."""
        return [one.number for one in self.connections]


def judge(
    lives: Sequence[Biography], connections: Sequence[Connection], census: Census, *, exit_seconds: float
) -> list[str]:
    """Return all that is wrong, apart from what ``aries-bridge verify`` finds."""
    problems = []
    for life, own in zip(lives, _by_life(lives, connections), strict=True):
        said = [
            *_judge_end(life, exit_seconds),
            *_judge_accounts(life, own, census),
            *_judge_lines(life, own, census),
            *_judge_records(life, own, census),
            *_judge_vitals(life),
            *life.outcries,
        ]
        problems += [f"process {life.number}: {problem}" for problem in said]
    return [*problems, *_judge_strangers(lives, census)]


def _by_life(lives: Sequence[Biography], connections: Iterable[Connection]) -> list[list[Connection]]:
    begins = [life.began_us for life in lives]
    found: list[list[Connection]] = [[] for _ in lives]
    for one in connections:
        found[max(0, bisect_right(begins, one.connected_us) - 1)].append(one)
    return found


# -- how it ended ------------------------------------------------------------------------------------------------------


def _judge_end(life: Biography, exit_seconds: float) -> Iterable[str]:
    if life.was_killed:
        return
    if not life.signals:
        yield f"it ended by itself, with code {life.exit_code}"
        return
    if life.exit_code is None or life.dying_seconds > exit_seconds:
        yield f"it did not end within {exit_seconds:g} s of {' and '.join(life.signals)}"
    elif life.exit_code != (4 if (life.stopped or {}).get("undelivered") else 0):
        yield f"its exit code is {life.exit_code}, its last accounts are {life.stopped}"


# -- accounts ----------------------------------------------------------------------------------------------------------


def _judge_accounts(life: Biography, own: Sequence[Connection], census: Census) -> Iterable[str]:
    """Compare the records of a life on Kafka with its last accounts."""
    found = sum(census.found[session] for session in life.sessions)
    sent = sum(sum(one.records.values()) for one in own)
    if found > sent:
        yield f"the topics hold {found} records of it, but it was sent {sent}"
    if life.stopped is None:
        return
    counts = life.stopped
    read = counts["lines_received"] + counts["split"]
    accounted = sum(count for name, count in counts.items() if name not in ("lines_received", "split"))
    if read != accounted or counts["pending"]:
        yield f"its last accounts do not add up: {counts}"
    if not counts["published"] <= found <= counts["published"] + counts["undelivered"]:
        yield f"the topics hold {found} records of it, its last accounts are {counts}"


def _judge_lines(life: Biography, own: Sequence[Connection], census: Census) -> Iterable[str]:
    """Compare the lines read with the lines sent, from one loss of the connection to the next."""
    for interval in intervals(life, own, census):
        sent = sum(one.lines for one in interval.connections)
        if interval.lines is None:
            continue
        if interval.lines > sent:
            yield f"it read {interval.lines} lines on connections {interval.numbers}, of {sent} sent"
        elif interval.lines < sent and all(one.in_order for one in interval.connections):
            said = f"it read only {interval.lines} lines of {sent} sent on connections {interval.numbers}"
            yield f"{said}, which all ended in order behind their last line"


def intervals(life: Biography, own: Sequence[Connection], census: Census) -> list[Interval]:
    """Return the connections of a life, cut where the accounts of the moment are known: where a loss was announced."""
    losses = {word.session_id: word.counts["lines_received"] for word in census.words if word.kind == "GAP"}
    rest, before = deque(own), 0
    found, present = [], Interval()
    for connection, sessions in _visits(life, own):
        while rest and rest[0].number <= connection.number:
            present.connections.append(rest.popleft())
        if sessions[-1] in losses:
            read = losses[sessions[-1]]
            present.lines, before = read - before, read
            found.append(present)
            present = Interval()
    present.connections += rest
    present.lines = None if life.stopped is None else life.stopped["lines_received"] - before
    return [*found, present]


def _visits(life: Biography, own: Sequence[Connection]) -> list[tuple[Connection, list[int]]]:
    """Return the connections that became sessions: one, or more where they lapsed and were renewed.

    A session begins when its connection is there, and before there is another.
    """
    found: list[tuple[Connection, list[int]]] = []
    for session_id in life.sessions:
        connection = next((one for one in reversed(own) if one.connected_us <= session_id), None)
        if connection is None:
            continue  # see _judge_records
        if found and found[-1][0] is connection:
            found[-1][1].append(session_id)
        else:
            found.append((connection, [session_id]))
    return found


def _judge_records(life: Biography, own: Sequence[Connection], census: Census) -> Iterable[str]:
    """Compare for each connection and symbol what was numbered with what was sent: no more, and the last of it."""
    if life.sessions and (not own or life.sessions[0] < own[0].connected_us):
        yield f"it began session {life.sessions[0]}, but no connection was there"
    heights: dict[int, dict[tuple[Topic, str], int]] = defaultdict(dict)
    for (session_id, topic, symbol), height in census.heights.items():
        heights[session_id][topic, symbol] = height
    missing_at_ends = 0
    for connection, sessions in _visits(life, own):
        numbered: Counter[tuple[Topic, str]] = Counter()
        for session_id in sessions:
            numbered.update(heights[session_id])
        for place, height in numbered.items():
            if height > (sent := connection.records.get(place, 0)):
                yield f"{height} records of {place} are numbered on connection {connection.number}, of {sent} sent"
        if connection.in_order:
            missing_at_ends += sum(count - numbered[place] for place, count in connection.records.items())
    if life.stopped is None:
        return
    allowed = sum(life.stopped[name] for name in _LOST)
    if missing_at_ends > allowed:
        yield f"{missing_at_ends} records are missing at the ends of its sessions, of which {allowed} are accounted for"


def _judge_strangers(lives: Sequence[Biography], census: Census) -> Iterable[str]:
    known = {session for life in lives for session in life.sessions}
    for session_id in census.found.keys() - known:
        yield f"the topics hold {census.found[session_id]} records of session {session_id}, which no process began"


# -- memory, files, threads --------------------------------------------------------------------------------------------


def _judge_vitals(life: Biography) -> Iterable[str]:
    calm = [seen for seen in life.vitals if seen.calm]
    if len(calm) < 2 * LOOKS:
        return
    first, last = calm[:LOOKS], calm[-LOOKS:]
    for what, spare in (
        ("rss_bytes", life.budget_bytes + SPARE_BYTES),
        ("files", SPARE_FILES),
        ("threads", SPARE_THREADS),
        ("tasks", SPARE_TASKS),
    ):
        then, now = _typical(first, what), _typical(last, what)
        if then is not None and now is not None and now > then + spare:
            yield f"{what} has grown from {then:,.0f} to {now:,.0f}, more than {spare:,}"
    ceiling = median(seen.rss_bytes for seen in first) + 2 * life.budget_bytes + SPARE_BYTES
    highest = max(seen.rss_bytes for seen in life.vitals)
    if highest > ceiling:
        yield f"its memory has reached {highest:,} bytes with a budget of {life.budget_bytes:,}"


def _typical(looks: Sequence[Vitals], what: str) -> float | None:
    values: list[Any] = [getattr(seen, what) for seen in looks]
    return None if None in values else median(values)
