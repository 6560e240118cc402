"""What was proven, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.table import Table

from bridge.verify.findings import Kind

if TYPE_CHECKING:
    from bridge.topics import Topic
    from bridge.verify.checker import Checker
    from bridge.verify.findings import Finding

#: So many findings are shown to people; ``--json`` has more.
MOST_SHOWN: Final = 50


class Row(NamedTuple):
    """Count what was found on one data topic."""

    topic: str
    records: int
    symbols: int
    sessions: int
    jumps_explained: int
    holes: int
    repeats: int
    order_breaks: int
    other_findings: int


class Report(NamedTuple):
    """Sum up a check."""

    rows: list[Row]
    control_records: int
    dead_letters: int
    processes: int
    awaiting: int
    findings: list[Finding]
    findings_total: int

    @property
    def proven(self) -> bool:
        """Return whether nothing was found."""
        return not self.findings_total

    @property
    def records(self) -> int:
        """Return how many market records were read."""
        return sum(row.records for row in self.rows)

    @property
    def verdict(self) -> str:
        """Return the one line that matters."""
        if not self.proven:
            return f"NOT PROVEN: {self.findings_total:,} {'finding' if self.findings_total == 1 else 'findings'}."
        if not self.records:
            return "Nothing to prove: there are no market records."
        repeats = sum(row.repeats for row in self.rows)
        said = f"PROVEN: {self.records:,} records, each symbol in order, every jump explained"
        said += f", {repeats:,} repeats by rebuilt producers" if repeats else ", no repeats"
        if self.awaiting:
            said += f"; {self.awaiting:,} left out lately, which the accounts to come must explain"
        return said + "."

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON knows it."""
        return {
            "proven": self.proven,
            "verdict": self.verdict,
            "topics": [row._asdict() for row in self.rows],
            "control_records": self.control_records,
            "dead_letters": self.dead_letters,
            "processes": self.processes,
            "awaiting": self.awaiting,
            "findings_total": self.findings_total,
            "findings": [finding.to_json() for finding in self.findings],
        }


def report(checker: Checker) -> Report:
    """Return the report as things stand."""
    return Report(
        rows=[_row(checker, topic) for topic in dict.fromkeys(partition.topic for partition in checker.partitions)],
        control_records=checker.announcements,
        dead_letters=checker.letters,
        processes=len(checker.lives.lives),
        awaiting=checker.awaiting,
        findings=checker.findings.kept,
        findings_total=len(checker.findings),
    )


def table(report: Report) -> Table:
    """Return the rows for a terminal."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("topic", "records", "symbols", "sessions", "explained", "holes", "repeats", "order", "other"):
        shown.add_column(heading, justify="left" if heading == "topic" else "right", no_wrap=True)
    for row in report.rows:
        name, *counts = row
        shown.add_row(name, *(f"{count:,}" for count in counts))
    return shown


def _row(checker: Checker, topic: Topic) -> Row:
    partitions = [partition for partition in checker.partitions if partition.topic is topic]
    found = {kind: checker.findings.counts[topic, kind] for kind in Kind}
    sessions: set[int] = set().union(*(partition.sessions for partition in partitions))
    return Row(
        topic=partitions[0].name,
        records=sum(partition.records for partition in partitions),
        symbols=sum(partition.symbols for partition in partitions),
        sessions=len(sessions),
        jumps_explained=sum(partition.jumps for partition in partitions) + checker.dead_lettered_holes[topic],
        holes=found.pop(Kind.HOLE),
        repeats=sum(partition.repeats for partition in partitions),
        order_breaks=found.pop(Kind.OVERTAKING),
        other_findings=sum(found.values()),
    )
