"""What was proven, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.table import Table

from bridge.topics import MARKET_DATA
from bridge.verify.violations import ViolationKind

if TYPE_CHECKING:
    from bridge.verify.checker import Checker
    from bridge.verify.handover_check import Handovers
    from bridge.verify.partition_check import PartitionCheck
    from bridge.verify.violations import Violation

_HEADINGS: Final = (
    *("topic", "records", "symbols", "sessions", "explained", "holes", "repeats", "redriven", "order", "other"),
)


class Row(NamedTuple):
    """What was found on one data topic."""

    topic: str
    records: int
    symbols: int
    sessions: int
    jumps_explained: int
    holes: int
    repeats: int
    redriven: int
    order_breaks: int
    other_findings: int
    #: The last records of owners whose lease had expired, after those of the new owner.
    late_records: int


class Report(NamedTuple):
    """The result of a verification."""

    rows: list[Row]
    control_records: int
    dead_letters: int
    processes: int
    handovers: Handovers
    awaiting: int
    violations: list[Violation]
    violations_total: int

    @property
    def proven(self) -> bool:
        """Return whether no promise is broken."""
        return not self.violations_total

    @property
    def records(self) -> int:
        """Return how many market records were read."""
        return sum(row.records for row in self.rows)

    @property
    def verdict(self) -> str:
        """Return the result in one line."""
        if not self.proven:
            return f"NOT PROVEN: {self.violations_total:,} violation{'' if self.violations_total == 1 else 's'}."
        if not self.records:
            return "Nothing to prove: there are no market records."
        repeats = sum(row.repeats for row in self.rows)
        verdict = f"PROVEN: {self.records:,} records, each symbol in order, every jump explained"
        verdict += f", {repeats:,} repeats after a producer was replaced" if repeats else ", no repeats"
        if redriven := sum(row.redriven for row in self.rows):
            verdict += f"; {redriven:,} of them redriven, which have no place in the order"
        if late := sum(row.late_records for row in self.rows):
            verdict += f"; {late:,} late, the last of former owners whose lease had expired"
        if self.awaiting:
            verdict += f"; {self.awaiting:,} missing or repeated lately, which the next control records must explain"
        return verdict + "."

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "proven": self.proven,
            "verdict": self.verdict,
            "topics": [row._asdict() for row in self.rows],
            "control_records": self.control_records,
            "dead_letters": self.dead_letters,
            "processes": self.processes,
            "handovers": self.handovers._asdict(),
            "awaiting": self.awaiting,
            "findings_total": self.violations_total,
            "findings": [violation.to_json() for violation in self.violations],
        }

    def table(self) -> Table:
        """Return the rows for a terminal."""
        table = Table(box=None, pad_edge=False)
        for heading in _HEADINGS:
            table.add_column(heading, justify="left" if heading == "topic" else "right", no_wrap=True)
        for name, *counts in self.rows:
            table.add_row(name, *(f"{count:,}" for count in counts[: len(_HEADINGS) - 1]))
        return table


def report(checker: Checker) -> Report:
    """Return the result so far."""
    partitions: dict[str, list[PartitionCheck]] = {}
    for partition in checker.partitions:
        if partition.topic in MARKET_DATA:
            partitions.setdefault(partition.name, []).append(partition)
    return Report(
        rows=[_row(checker, name, of_topic) for name, of_topic in partitions.items()],
        control_records=checker.control_records,
        dead_letters=checker.dead_letters,
        processes=len(checker.histories.processes),
        handovers=checker.handovers.summary(),
        awaiting=checker.awaiting,
        violations=checker.violations.kept,
        violations_total=len(checker.violations),
    )


def _row(checker: Checker, name: str, partitions: list[PartitionCheck]) -> Row:
    topic = partitions[0].topic
    violations = {kind: checker.violations.counts[topic, kind] for kind in ViolationKind}
    return Row(
        topic=name,
        records=sum(partition.records for partition in partitions),
        symbols=sum(len(partition.symbols) for partition in partitions),
        sessions=len(set[int]().union(*(partition.sessions for partition in partitions))),
        jumps_explained=sum(partition.jumps for partition in partitions),
        holes=violations.pop(ViolationKind.HOLE),
        repeats=sum(partition.repeats for partition in partitions),
        redriven=sum(partition.redriven for partition in partitions),
        order_breaks=violations.pop(ViolationKind.OUT_OF_ORDER) + violations.pop(ViolationKind.OVERLAP),
        other_findings=sum(violations.values()),
        late_records=checker.handovers.late_records(topic),
    )
