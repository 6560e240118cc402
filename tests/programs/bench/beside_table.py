"""The table of other bridges that were measured beside ours: CPU time as a multiple of ours, and ours of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from tests.programs.bench.sides import SIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.programs.bench.results import Results
    from tests.programs.bench.rounds import Rounds

#: The percentiles that are shown of a bridge that tells its latencies.
SHOWN: Final = ("p50", "p99")
#: What is less, in µs a record or millicores, is not divided by.
NEGLIGIBLE: Final = 0.1
#: How much of a reason is shown.
_REASON_CHARACTERS: Final = 60
_OWN: Final = frozenset(side.name for side in SIDES)


@dataclass(frozen=True, slots=True)
class _Figures:
    """The runs of one case, and what is compared of them."""

    name: str
    rounds: Rounds[Any, Any]
    cpu: Callable[[Any], float]
    unit: str

    def names(self) -> list[str]:
        """Return the names of the bridges beside ours that have figures, those that were void left out."""
        found = dict.fromkeys(name for pair in self.rounds.pairs for name in pair)
        return [name for name in found if name not in _OWN and name not in self.rounds.void_beside]

    def row(self, name: str) -> list[str]:
        """Return the cells of one bridge."""
        rounds = self.rounds
        return [
            self.name,
            name,
            str(len(rounds.pairs)),
            f"{rounds.spread(name, self.cpu).text(1)} {self.unit}",
            rounds.spread("bridge", self.cpu).text(1),
            self._ratio(name, "bridge"),
            self._ratio("bridge", name),
            self._latencies(name),
            self._latencies("bridge"),
        ]

    def _ratio(self, name: str, to: str) -> str:
        least = self.rounds.spread(to, self.cpu).lowest
        return str(self.rounds.ratio(self.cpu, name, to)) if least > NEGLIGIBLE else "-"

    def _latencies(self, name: str) -> str:
        found: list[Mapping[str, float]] = [getattr(pair[name], "percentiles", {}) for pair in self.rounds.pairs]
        if not all(part in one for one in found for part in SHOWN):
            return "-"
        parts = [self.rounds.spread(name, lambda run, part=part: run.percentiles[part]) for part in SHOWN]  # type: ignore[misc]
        return ", ".join(f"{part.median:.1f}" for part in parts)


def beside_table(results: Results) -> Table | None:
    """Return the table, or None if nothing was measured beside."""
    figures = [
        *(_Figures(one.case.name, one, lambda run: run.cpu_us, "µs a record") for one in results.full_speed),
        *(_Figures(one.case.name, one, lambda run: run.share_of_core * 1e3, "millicores") for one in results.rates),
        *(_Figures(one.case.name, one, lambda run: run.millicores, "millicores") for one in results.quiet),
    ]
    table = Table(title="Beside the bridge, in the same rounds: CPU time, medians (range)")
    table.add_column("case", no_wrap=True)
    table.add_column("beside", overflow="fold")
    for heading in ("runs", "its CPU", "ours", "its / ours", "ours / its", "its p50, p99 (ms)", "ours"):
        table.add_column(heading, justify="right")
    for one in figures:
        for name in one.names():
            table.add_row(*one.row(name))
        for name, reason in one.rounds.void_beside.items():
            table.add_row(one.name, name, "void", reason[:_REASON_CHARACTERS])
    return table if table.rows else None
