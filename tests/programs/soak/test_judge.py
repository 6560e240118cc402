"""The judge finds planted problems, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from tests.programs.soak.connection_log import Connection
from tests.programs.soak.judge import (
    SAMPLES,
    SPARE_BYTES,
    SPARE_TASKS_OF_BROKER,
    SPARE_TASKS_OF_MEMBERS,
    ProcessRecord,
    judge,
    judge_group,
)
from tests.programs.soak.plan import Step
from tests.programs.soak.resource_usage import ResourceUsage
from tests.programs.soak.topic_contents import ControlRecord, TopicContents
from tests.programs.soak.verdict import Played, Verdict, loss_counts

BEGAN, FIRST, SECOND = 1_000, 2_000, 5_000
AAPL = (Topic.QUOTES, "AAPL")
#: Lines that become no record: answers to requests.
ANSWERS = 3


def accounts(published: int, **more: int) -> dict[str, int]:
    """Return accounts that add up."""
    counts = Accounts().totals() | {"published": published, "filtered": ANSWERS} | more
    lines = sum(count for name, count in counts.items() if name not in ("lines_received", "split"))
    return counts | {"lines_received": lines}


def connection(number: int, connected_us: int, records: int, *, in_order: bool = True) -> Connection:
    return Connection(number, connected_us, connected_us + 1, records + ANSWERS, {AAPL: records}, in_order)


def contents(**next_seqs: int) -> TopicContents:
    """Return what the topics hold of two sessions."""
    made = TopicContents()
    for session_id, next_seq in zip((FIRST + 10, SECOND + 10), next_seqs.values(), strict=False):
        for seq in range(next_seq):
            made.add(*AAPL, session_id, seq)
    return made


PROCESS = ProcessRecord(
    number=1,
    began_us=BEGAN,
    sessions=(FIRST + 10,),
    stopped=accounts(published=7),
    exit_code=0,
    signals=("SIGTERM",),
    shutdown_seconds=0.1,
    budget_bytes=1 << 20,
)


def problems(process: ProcessRecord, found: TopicContents, *connections: Connection) -> list[str]:
    return judge([process], connections, found, exit_seconds=10)


def test_a_life_that_fits_passes() -> None:
    """What was sent is what was read, and what was read is on Kafka."""
    assert problems(PROCESS, contents(first=7), connection(1, FIRST, 7)) == []


def test_a_line_that_was_never_read_is_found() -> None:
    """Where the server closed behind its last line, each line counts; where the connection broke, the last may miss."""
    (problem, *_) = problems(PROCESS, contents(first=7), connection(1, FIRST, 8))
    assert "it read only 10 lines of 11 sent on connections [1]" in problem
    assert problems(PROCESS, contents(first=7), connection(1, FIRST, 8, in_order=False)) == []


def test_more_lines_than_were_sent_are_found() -> None:
    """What was never sent cannot be read."""
    found = problems(PROCESS, contents(first=7), connection(1, FIRST, 6, in_order=False))
    assert any("it read 10 lines on connections [1], of 9 sent" in problem for problem in found)
    assert any("7 records of" in problem and "of 6 sent" in problem for problem in found)


def test_a_loss_cuts_the_account() -> None:
    """What a GAP counts is compared with the connections until then, and the rest with those behind it."""
    process = replace(PROCESS, sessions=(FIRST + 10, SECOND + 10), stopped=accounts(7, filtered=2 * ANSWERS))
    found = contents(first=3, second=4)
    found.control.append(ControlRecord("GAP", FIRST + 10, 4_000, {"lines_received": 3 + ANSWERS}))
    connections = [connection(1, FIRST, 5, in_order=False), connection(2, SECOND, 4)]

    assert problems(process, found, *connections) == []
    (problem, *_) = problems(process, found, connections[0], connection(2, SECOND, 5))
    assert "it read only 7 lines of 8 sent on connections [2]" in problem


def test_sessions_may_share_a_connection() -> None:
    """A session that expires and is renewed on the open socket makes two of one connection."""
    process = replace(PROCESS, sessions=(FIRST + 10, SECOND + 10))
    found = contents(first=3, second=4)
    found.control.append(ControlRecord("GAP", FIRST + 10, 4_000, {"lines_received": 5}))

    assert problems(process, found, connection(1, FIRST, 7)) == []


def test_a_tail_that_is_missing_needs_an_account() -> None:
    """The last records of a session leave no jump: the simulator's counts tell of them."""
    process = replace(PROCESS, stopped=accounts(6, filtered=ANSWERS + 1))
    (problem,) = problems(process, contents(first=6), connection(1, FIRST, 7))
    assert "1 records are missing at the ends of its sessions, of which 0 are accounted for" in problem
    dropped = replace(PROCESS, stopped=accounts(6, dropped=1))
    assert problems(dropped, contents(first=6), connection(1, FIRST, 7)) == []


def test_lines_of_an_unsubscribed_symbol_may_be_filtered() -> None:
    """What was on its way when its symbol was unsubscribed becomes no record, and is counted as filtered."""
    process = replace(PROCESS, stopped=accounts(6, filtered=ANSWERS + 1), changed_symbols=frozenset({"AAPL"}))
    assert problems(process, contents(first=6), connection(1, FIRST, 7)) == []
    uncounted = replace(process, stopped=accounts(6, filtered=0))
    assert problems(uncounted, contents(first=6), connection(1, FIRST, 7))


@pytest.mark.parametrize(("found", "undelivered", "passes"), [(7, 0, True), (6, 0, False), (8, 0, False), (8, 1, True)])
def test_records_on_kafka_are_the_published_ones(found: int, undelivered: int, *, passes: bool) -> None:
    """Neither fewer nor more, but those that were given up at the exit may have arrived."""
    process = replace(
        PROCESS, stopped=accounts(7, undelivered=undelivered, filtered=ANSWERS), exit_code=4 if undelivered else 0
    )
    said = [
        one
        for one in problems(process, contents(first=found), connection(1, FIRST, 9, in_order=False))
        if "hold" in one
    ]
    assert (said == []) is passes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"signals": (), "exit_code": 1}, "exited by itself"),
        ({"exit_code": None}, "did not end within"),
        ({"shutdown_seconds": 11.0}, "did not end within"),
        ({"exit_code": 4}, "its exit code is 4"),
        ({"stopped": accounts(7, undelivered=1)}, "its exit code is 0"),
        ({"stopped": accounts(7) | {"filtered": 0}}, "do not add up"),
        ({"unexpected_output": ("unexpected output: Traceback",)}, "Traceback"),
        ({"sessions": (FIRST - 10,)}, "no connection was there"),
    ],
)
def test_a_bad_end_is_found(changes: dict[str, Any], said: str) -> None:
    """Exit codes, deadlines, accounts and complaints are looked at."""
    found = problems(replace(PROCESS, **changes), contents(first=7), connection(1, FIRST, 7))
    assert any(said in problem for problem in found)


def test_a_killed_process_owes_no_last_word() -> None:
    """What it read and had no time to publish is lost with it, and was never promised."""
    killed = replace(PROCESS, signals=("SIGKILL",), exit_code=-9, stopped=None)
    assert problems(killed, contents(first=4), connection(1, FIRST, 7)) == []


def test_records_of_nobodys_session_are_found() -> None:
    """Each session on Kafka is one that a process began."""
    (problem,) = problems(
        replace(PROCESS, stopped=None, signals=("SIGKILL",), sessions=()), contents(first=4), connection(1, FIRST, 7)
    )
    assert "which no process began" in problem


class TestResourceUsage:
    def problems(self, **grown: int) -> list[str]:
        """Return what is said of a process whose figures have grown in the end."""
        usual: dict[str, Any] = {"rss_bytes": 60 << 20, "files": 12, "threads": 5, "tasks": 20}
        seen = ResourceUsage(1.0, steady=True, **usual)
        later = ResourceUsage(9.0, steady=True, **{name: value + grown.get(name, 0) for name, value in usual.items()})
        process = replace(PROCESS, usage=[*[seen] * SAMPLES, *[later] * SAMPLES])
        return problems(process, contents(first=7), connection(1, FIRST, 7))

    def test_that_stay_pass(self) -> None:
        """A little more is no growth."""
        assert self.problems(rss_bytes=20 << 20, files=2, threads=1) == []

    @pytest.mark.parametrize("what", ["files", "threads", "tasks"])
    def test_that_grow_are_found(self, what: str) -> None:
        """What is opened or started and never ended shows in the end."""
        (problem,) = self.problems(**{what: 30})
        assert f"{what} has grown" in problem

    def test_memory_that_grows_is_found(self) -> None:
        """Memory beyond the budget and a spare amount is a leak."""
        assert any("rss_bytes has grown" in problem for problem in self.problems(rss_bytes=SPARE_BYTES + (2 << 20)))

    def test_memory_is_bounded_in_a_fault_too(self) -> None:
        """While things go wrong the budget holds."""
        (problem,) = self.problems_in_a_fault()
        assert "its memory has reached" in problem

    def problems_in_a_fault(self) -> list[str]:
        steady, swollen = (
            ResourceUsage(1.0, 60 << 20, 12, 5, steady=True),
            ResourceUsage(5.0, 999 << 20, 12, 5, steady=False),
        )
        process = replace(PROCESS, usage=[*[steady] * SAMPLES, swollen, *[steady] * SAMPLES])
        return problems(process, contents(first=7), connection(1, FIRST, 7))


#: What ``verify --json`` says of five records.
PROVEN = {"topics": [{"records": 5, "holes": 0, "order_breaks": 0, "repeats": 1, "jumps_explained": 0}]}


class TestVerdict:
    def verdict(self, **changes: Any) -> Verdict:
        passed: dict[str, Any] = {"verify_exit_code": 0, "verified": PROVEN, "totals": loss_counts(PROVEN)}
        return Verdict(7, 60.0, 3000.0, **(passed | changes))

    def test_passes_where_all_is_well(self) -> None:
        """Nothing found, everything recovered, and there was something to prove."""
        assert self.verdict().passed
        assert ("result", "PASSED") in self.verdict().rows

    @pytest.mark.parametrize(
        "changes",
        [{"verify_exit_code": 1}, {"problems": ["x"]}, {"totals": {"records": 0}}, {"verify_exit_code": None}],
    )
    def test_fails_otherwise(self, changes: dict[str, Any]) -> None:
        """Each of these alone is enough; a run without a record proves nothing."""
        assert not self.verdict(**changes).passed

    def test_fails_where_a_step_was_not_recovered(self) -> None:
        """A bridge that does not come to itself has not recovered, whatever the topics say."""
        played = Played(Step(1, 2.0, ()), 0.0, 1.0, 90.0, "it is waiting", 0, 0, 1)
        assert not self.verdict(played=[played]).passed


def test_processes_of_a_group_are_judged_by_their_own_sessions() -> None:
    """What one dropped may be on the topics, as it was on its way; more than that is a problem."""
    other = replace(PROCESS, number=2, sessions=(SECOND + 10,), stopped=accounts(published=3, dropped=2))
    assert judge_group([PROCESS, other], contents(a=7, b=5), late_records=0, exit_seconds=10, brokers=1) == []
    [problem] = judge_group([PROCESS, other], contents(a=7, b=6), late_records=0, exit_seconds=10, brokers=1)
    assert problem.startswith("process 2: the topics hold 6 records of it")
    [problem] = judge_group([PROCESS, other], contents(a=7, b=2), late_records=0, exit_seconds=10, brokers=1)
    assert problem.startswith("process 2: the topics hold 2 records of it")


def test_late_records_of_former_owners_must_be_those_that_verify_counts() -> None:
    """Records behind those of a newer session of their symbol are counted by both."""
    found = contents(a=6, b=3)
    found.add(*AAPL, FIRST + 10, 6)
    other = replace(PROCESS, number=2, sessions=(SECOND + 10,), stopped=accounts(published=3))
    assert judge_group([PROCESS, other], found, late_records=1, exit_seconds=10, brokers=1) == []
    [problem] = judge_group([PROCESS, other], found, late_records=0, exit_seconds=10, brokers=1)
    assert "1 records come behind newer sessions" in problem


@pytest.mark.parametrize(
    ("brokers", "more"), [(1, SPARE_TASKS_OF_MEMBERS), (3, SPARE_TASKS_OF_MEMBERS + 2 * SPARE_TASKS_OF_BROKER)]
)
def test_a_member_may_come_to_have_connections_to_all_brokers(brokers: int, more: int) -> None:
    """As many more tasks as that explains are no leak; one more is one."""

    def said(tasks: int) -> list[str]:
        usage = [ResourceUsage(1.0, 60 << 20, 12, 5, steady=True, tasks=count) for count in (30, tasks)]
        process = replace(PROCESS, usage=[*[usage[0]] * SAMPLES, *[usage[1]] * SAMPLES])
        return judge_group([process], contents(a=7), late_records=0, exit_seconds=10, brokers=brokers)

    assert said(30 + more) == []
    [problem] = said(31 + more)
    assert "tasks has grown" in problem
