"""What became of the dead letters: by reason and by topic, with a few examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.table import Table

from bridge.redrive.reprocessing import Result

if TYPE_CHECKING:
    from bridge.redrive.reprocessing import Outcome

#: Examples kept of each reason and result.
MAX_EXAMPLES: Final = 3


class Example(NamedTuple):
    """One letter, and what became of it."""

    place: str
    reason: str
    symbol: str | None
    text: str

    def __str__(self) -> str:
        symbol = "" if self.symbol is None else f" {self.symbol}"
        return f"{self.place} {self.reason}{symbol}: {self.text}"


@dataclass(slots=True)
class Report:
    """The counts of letters by their reason and result, and of records by topic."""

    results: Counter[tuple[str, Result]] = field(default_factory=Counter)
    #: Why letters have no record: by result and word.
    why: Counter[tuple[Result, str]] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    #: Letters that were not asked for (``--reason``, ``--since``).
    passed_over: int = 0
    examples: dict[tuple[str, Result], list[Example]] = field(default_factory=dict)

    @property
    def letters(self) -> int:
        """Return how many letters were looked at."""
        return self.results.total()

    def total(self, result: Result) -> int:
        """Return how many letters have this result."""
        return sum(count for (_, one), count in self.results.items() if one is result)

    def add(self, place: str, reason: str, symbol: str | None, outcome: Outcome, topics: list[str]) -> None:
        """Count a letter; ``topics`` are the names of the topics of its records."""
        self.results[reason, outcome.result] += 1
        self.records.update(topics)
        if outcome.why:
            self.why[outcome.result, outcome.why] += 1
        text = f"{outcome.result}, {outcome.why}: {outcome.text}" if outcome.why else f"to {', '.join(topics)}"
        examples = self.examples.setdefault((reason, outcome.result), [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(Example(place, reason, symbol, text))

    def table(self) -> Table:
        """Return the counts by reason, for a terminal."""
        table = Table(box=None, pad_edge=False)
        for heading in ("reason", "letters", *Result):
            table.add_column(heading, justify="left" if heading == "reason" else "right", no_wrap=True)
        for reason in sorted({reason for reason, _ in self.results}):
            counts = [self.results[reason, result] for result in Result]
            table.add_row(reason, *(f"{count:,}" for count in (sum(counts), *counts)))
        return table

    def lines(self) -> list[str]:
        """Return the counts by topic and by cause."""
        lines = [f"{name}: {count:,} record{'' if count == 1 else 's'}" for name, count in sorted(self.records.items())]
        return lines + [f"{result}, {why}: {count:,}" for (result, why), count in sorted(self.why.items())]
