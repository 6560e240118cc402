"""The results of a benchmark: the rounds of every case, by kind of case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.programs.bench.cases import Case, QuietCase, RateCase
    from tests.programs.bench.rounds import Rounds
    from tests.programs.bench.trial import Latency, Quiet, Throughput


@dataclass(frozen=True, slots=True)
class Results:
    """The rounds at full speed, at given rates, and with hardly any lines."""

    full_speed: list[Rounds[Case, Throughput]] = field(default_factory=list)
    rates: list[Rounds[RateCase, Latency]] = field(default_factory=list)
    quiet: list[Rounds[QuietCase, Quiet]] = field(default_factory=list)

    def all(self) -> Iterator[Rounds[Any, Any]]:
        """Yield the rounds of every case."""
        yield from self.full_speed
        yield from self.rates
        yield from self.quiet
