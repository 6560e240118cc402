"""The targets, and whether they were met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.programs.bench.cases import Case, QuietCase, RateCase
    from tests.programs.bench.results import Results
    from tests.programs.bench.rounds import Rounds
    from tests.programs.bench.trial import Latency, Quiet, Throughput

RSS_BYTES: Final = 90e6
#: Latencies in milliseconds at a rate of lines a second.
LATENCY_RATE: Final = 10_000
LATENCIES: Final = {"p99": 5.0, "p99.9": 25.0}
#: The greatest time that the bridge may lag behind the feed at this rate (seconds).
KEEP_UP_RATE, BEHIND_SECONDS = 50_000, 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, the figure found, and whether it is met."""

    target: str
    found: str
    met: bool

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'}  {self.target}: {self.found}"


def verdicts(results: Results) -> list[Verdict]:
    """Return a verdict for each target with a figure; a target with only void runs is not met."""
    voids = [f"{one.case.name}: {void}" for one in results.all() for void in one.voids]
    peaks = [pair["bridge"].rss_peak_bytes for one in results.full_speed for pair in one.pairs]
    peaks += [pair["bridge"].rss_peak_bytes for one in results.rates for pair in one.pairs]
    return [
        Verdict("every record there once, in its symbol's order", "; ".join(voids) or "in every run", not voids),
        *_ratios(results.full_speed),
        *_rates(results.rates),
        *_quiet(results.quiet),
        *_memory(peaks),
    ]


def _ratios(full_speed: Sequence[Rounds[Case, Throughput]]) -> Iterator[Verdict]:
    for one in full_speed:
        if one.case.target is not None and one.pairs:
            ratio = one.ratio(lambda run: run.cpu_us)
            target = f"{one.case.name}: at least {one.case.target:g} times as fast as the baseline"
            yield Verdict(target, str(ratio), ratio.median >= one.case.target)


def _rates(rates: Sequence[Rounds[RateCase, Latency]]) -> Iterator[Verdict]:
    for one in rates:
        if one.pairs and one.case.per_second == LATENCY_RATE:
            for part, most in LATENCIES.items():
                found = one.spread("bridge", lambda run, part=part: run.percentiles[part])  # type: ignore[misc]
                target = f"{part} from receive to acknowledgement at {LATENCY_RATE:,}/s: at most {most:g} ms"
                yield Verdict(target, f"{found} ms", found.median <= most)
        if one.pairs and one.case.per_second == KEEP_UP_RATE:
            behind = one.spread("bridge", lambda run: run.behind_seconds)
            target = f"keeps up at {KEEP_UP_RATE:,}/s: at most {BEHIND_SECONDS:g} s behind"
            yield Verdict(target, f"{behind} s", behind.median <= BEHIND_SECONDS)


def _quiet(quiet: Sequence[Rounds[QuietCase, Quiet]]) -> Iterator[Verdict]:
    for one in quiet:
        if one.case.millicores is not None and one.pairs:
            found = one.spread("bridge", lambda run: run.millicores)
            target = f"{one.case.name}: at most {one.case.millicores:g} millicores"
            yield Verdict(target, str(found), found.median <= one.case.millicores)


def _memory(peaks: Sequence[int]) -> Iterator[Verdict]:
    if peaks:
        yield Verdict(f"at most {RSS_BYTES / 1e6:g} MB", f"{max(peaks) / 1e6:.1f} MB at most", max(peaks) <= RSS_BYTES)
