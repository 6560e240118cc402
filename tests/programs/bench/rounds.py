"""Runs in pairs: bridge and baseline in turn, and others beside them, so that load affects all alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Generic, TypeVar

from tests.programs.bench.readback import Void
from tests.programs.bench.sides import SIDES, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: What is measured, and what one run gives.
C = TypeVar("C")
#: Less than any clock measures: what took nothing has a ratio, too.
_LEAST = 1e-9
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

    def text(self, digits: int) -> str:
        """Return the median, and the range in brackets."""
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}-{self.highest:.{digits}f})"

    def __str__(self) -> str:
        return self.text(2)


@dataclass(slots=True)
class Rounds(Generic[C, R]):
    """The pairs of runs of one case, and why others were void."""

    case: C
    pairs: list[dict[str, R]] = field(default_factory=list)
    voids: list[str] = field(default_factory=list)
    #: Why a bridge beside has no figures: it is not run again in this case.
    void_beside: dict[str, str] = field(default_factory=dict)

    def spread(self, side: str, figure: Callable[[R], float]) -> Spread:
        """Return a figure of one side over all pairs."""
        return Spread.of([figure(pair[side]) for pair in self.pairs])

    def ratio(self, figure: Callable[[R], float], side: str = "baseline", to: str = "bridge") -> Spread:
        """Return the ratio of one side's figure to another's, over all pairs."""
        return Spread.of([figure(pair[side]) / max(figure(pair[to]), _LEAST) for pair in self.pairs])


def measured(
    case: C,
    pairs: int,
    run: Callable[[Side], R],
    note: Callable[[str], None],
    *,
    sides: Sequence[Side] = SIDES,
    beside: Sequence[Side] = (),
) -> Rounds[C, R]:
    """Run a number of pairs, and the bridges beside them in turn; a void run of a pair voids it."""
    rounds: Rounds[C, R] = Rounds(case)
    for number in range(pairs):
        pair: dict[str, R] = {}
        order = [*sides, *(one for one in beside if one.name not in rounds.void_beside)]
        # Each side is first as often as the last: what one leaves behind favours none.
        for side in order if number % 2 == 0 else order[::-1]:
            note(f"pair {number + 1} of {pairs}, {side.name}")
            try:
                pair[side.name] = run(side)
            except (Void, TimeoutError, ChildProcessError) as void:
                if side in sides:
                    rounds.voids.append(f"{side.name}: {void}")
                    break
                rounds.void_beside[side.name] = str(void)
        else:
            rounds.pairs.append(pair)
    return rounds
