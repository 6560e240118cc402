"""Runs in pairs: bridge and baseline in turn, so that load of the machine affects both alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Generic, TypeVar

from tests.programs.bench.readback import Void
from tests.programs.bench.trial import SIDES, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: What is measured, and what one run gives.
C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median and range of some figures."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Return the spread of at least one figure."""
        return cls(median(figures), min(figures), max(figures))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lowest:.2f}-{self.highest:.2f})"


@dataclass(slots=True)
class Rounds(Generic[C, R]):
    """The pairs of runs of one case, and why others were void."""

    case: C
    pairs: list[dict[Side, R]] = field(default_factory=list)
    voids: list[str] = field(default_factory=list)

    def spread(self, side: Side, figure: Callable[[R], float]) -> Spread:
        """Return a figure of one side over all pairs."""
        return Spread.of([figure(pair[side]) for pair in self.pairs])

    def ratio(self, figure: Callable[[R], float]) -> Spread:
        """Return the ratio of the baseline's figure to the bridge's, over all pairs."""
        return Spread.of([figure(pair["baseline"]) / figure(pair["bridge"]) for pair in self.pairs])


def measured(
    case: C,
    pairs: int,
    run: Callable[[Side], R],
    note: Callable[[str], None],
    *,
    sides: Sequence[Side] = SIDES,
) -> Rounds[C, R]:
    """Run a number of pairs; a void run voids its pair."""
    rounds: Rounds[C, R] = Rounds(case)
    for number in range(pairs):
        pair: dict[Side, R] = {}
        try:
            # Each side is first as often as the other: what one leaves behind favours neither.
            for side in sides if number % 2 == 0 else sides[::-1]:
                note(f"pair {number + 1} of {pairs}, {side}")
                pair[side] = run(side)
        except (Void, TimeoutError, ChildProcessError) as void:
            rounds.voids.append(f"{side}: {void}")
        else:
            rounds.pairs.append(pair)
    return rounds
