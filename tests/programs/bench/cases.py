"""The cases: feeds at full speed, at given rates, and hardly any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.programs.bench.frames import LEVEL2, QUOTES, TRADING_DAY, DialectName, Recipe
from tests.programs.bench.sides import BRIDGE, SIDES, Side

if TYPE_CHECKING:
    from tests.programs.bench.frames import Happenings

FEW_SYMBOLS: Final = 5


@dataclass(frozen=True, slots=True)
class Case:
    """A feed at full speed; ``usual``: it is measured by default."""

    name: str
    recipe: Recipe
    usual: bool = True
    #: The target: how many times less CPU time the bridge takes than the baseline.
    target: float | None = None
    #: Where the baseline would end, only the bridge is measured.
    sides: tuple[Side, ...] = SIDES


@dataclass(frozen=True, slots=True)
class RateCase:
    """A rate of quotes with one line a frame."""

    name: str
    per_second: int
    seconds: int
    usual: bool = True
    #: If the baseline is too slow, only the bridge is measured.
    sides: tuple[Side, ...] = SIDES

    @property
    def recipe(self) -> Recipe:
        """Return a feed for the duration of the case."""
        return Recipe(QUOTES, self.per_second * self.seconds)


@dataclass(frozen=True, slots=True)
class QuietCase:
    """A rate of quotes so low that what counts is how often the process wakes; 0: it is connected, and that is all."""

    name: str
    per_second: int
    seconds: int
    usual: bool = True
    #: The target: how many thousandths of a core the bridge takes at most.
    millicores: float | None = None
    sides: tuple[Side, ...] = SIDES

    @property
    def recipe(self) -> Recipe:
        """Return a feed of a few symbols for the duration of the case."""
        return Recipe(QUOTES, self.per_second * self.seconds, symbols=FEW_SYMBOLS)


def _case(
    name: str,
    happenings: Happenings,
    lines: int,
    lines_per_frame: int,
    *,
    dialect: DialectName = "envelope",
    usual: bool = True,
    target: float | None = None,
) -> Case:
    return Case(name, Recipe(happenings, lines, lines_per_frame, dialect), usual, target)


CASES: Final = (
    _case("quotes-1", QUOTES, 50_000, 1, target=3),
    _case("quotes-10", QUOTES, 50_000, 10, target=4),
    _case("quotes-100", QUOTES, 50_000, 100),
    _case("level2", LEVEL2, 15_000, 1, target=4),
    _case("mix-1", TRADING_DAY, 40_000, 1, target=3),
    _case("mix-10", TRADING_DAY, 40_000, 10, target=3),
    Case("bad-lines", Recipe(QUOTES, 100_000, 10, good_symbols=1), sides=(BRIDGE,)),
    _case("quotes-1-action", QUOTES, 50_000, 1, dialect="action", target=3),
    _case("quotes-10-action", QUOTES, 50_000, 10, dialect="action", target=4),
    _case("quotes-100-action", QUOTES, 50_000, 100, dialect="action", usual=False),
    _case("level2-action", LEVEL2, 15_000, 1, dialect="action", usual=False, target=4),
    _case("mix-1-action", TRADING_DAY, 40_000, 1, dialect="action", usual=False, target=3),
    _case("mix-10-action", TRADING_DAY, 40_000, 10, dialect="action", usual=False, target=3),
)
RATE_CASES: Final = (
    RateCase("rate-1k", 1_000, 10, usual=False),
    RateCase("rate-10k", 10_000, 8),
    RateCase("rate-50k", 50_000, 6, sides=(BRIDGE,)),
)
QUIET_CASES: Final = (
    QuietCase("at-rest", 0, 10, millicores=5),
    QuietCase("quiet-100", 100, 10),
    QuietCase("quiet-1k", 1_000, 6),
)
