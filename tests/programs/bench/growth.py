"""The growth of CPU time, memory and start-up time with symbols, partitions and time."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bridge.topics import SUBSCRIBABLE
from tests.programs.bench.brokers import Embedded, Real, real_kafka
from tests.programs.bench.children import Child, pinned, wait_until
from tests.programs.bench.frames import QUOTES, Recipe, build, symbols
from tests.programs.bench.readback import Consuming
from tests.programs.bench.sides import BRIDGE, python
from tests.programs.bench.trial import Trials, bridge_settings
from tests.programs.bench.verdicts import Verdict
from tests.support.kafka_distribution import KafkaMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.programs.bench.children import Cores

SYMBOLS: Final = (10, 100, 1000, 5000)
PARTITIONS: Final = (1, 4, 24)
LINES: Final = 200_000
ROUNDS: Final = 3
RATE: Final = 5_000
SAMPLE_SECONDS: Final = 10.0
#: So few that the simulator has time to answer: its market opens with every subscription.
START_RATE: Final = 100
MOST_DIFFERENCE: Final = 0.15
MOST_START_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Growing:
    """Medians at one size: CPU time a record in µs, and memory at the end."""

    size: float
    cpu_us: float
    rss_bytes: float


@dataclass(frozen=True, slots=True)
class Growth:
    """All results; what could not be measured is empty."""

    by_symbols: list[Growing]
    by_partitions: list[Growing]
    by_seconds: list[Growing]
    start_seconds: list[float]

    @property
    def bytes_per_symbol(self) -> float:
        """Return the growth of memory per symbol."""
        few, many = self.by_symbols[0], self.by_symbols[-1]
        return (many.rss_bytes - few.rss_bytes) / (many.size - few.size)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "bytes_per_symbol": self.bytes_per_symbol}

    def verdicts(self) -> list[Verdict]:
        """Return whether the targets were met."""
        started = median(self.start_seconds)
        return [
            _steady(f"from {SYMBOLS[0]} to {SYMBOLS[-1]:,} symbols", self.by_symbols),
            _steady(f"from {PARTITIONS[0]} to {PARTITIONS[-1]} partitions a topic", self.by_partitions),
            _steady("over time", self.by_seconds),
            Verdict(
                f"first record {MOST_START_SECONDS:g} s after the start with {SYMBOLS[-1]:,} symbols",
                f"{started:.2f} s",
                started <= MOST_START_SECONDS,
            ),
            Verdict("memory per symbol is stated", f"{self.bytes_per_symbol / 1000:.1f} kB", met=True),
        ]


def measure(cores: Cores, minutes: float, note: Callable[[str], None]) -> Growth:
    """Measure all of it."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder, pinned(cores.others):
        own = Path(folder)
        return Growth(
            by_symbols=_by_symbols(cores, own, note),
            by_partitions=_by_partitions(cores, own, note),
            by_seconds=_by_seconds(cores, own, minutes * 60, note),
            start_seconds=[_start_seconds(cores, own, note) for _ in range(ROUNDS)],
        )


def _by_symbols(cores: Cores, folder: Path, note: Callable[[str], None]) -> list[Growing]:
    trials = Trials(Embedded(cores), cores, folder / "runs")
    return _in_turn(dict.fromkeys(SYMBOLS, trials), lambda size: Recipe(QUOTES, LINES, symbols=size), folder, note)


def _by_partitions(cores: Cores, folder: Path, note: Callable[[str], None]) -> list[Growing]:
    """Return nothing where there is no real Kafka: the embedded broker always has four partitions."""
    try:
        with real_kafka(cores) as kafka:
            trials = {size: Trials(Real(kafka, size), cores, folder / "runs") for size in PARTITIONS}
            return _in_turn(trials, lambda _: Recipe(QUOTES, LINES), folder, note)
    except KafkaMissing as missing:
        note(f"partitions not measured: {missing}")
        return []


def _in_turn(
    trials: dict[int, Trials], recipe: Callable[[int], Recipe], folder: Path, note: Callable[[str], None]
) -> list[Growing]:
    """Run all sizes in turn, several times, so that load of the machine affects all alike."""
    feeds = {size: build(recipe(size)) for size in trials}
    runs: dict[int, list[tuple[float, int]]] = {size: [] for size in trials}
    for number in range(ROUNDS):
        for size, trial in trials.items():
            note(f"growth to {size}: run {number + 1} of {ROUNDS}")
            run = trial.full_speed(BRIDGE, feeds[size], feeds[size].save(folder / "feed"))
            runs[size].append((run.settled_cpu_us, run.rss_end_bytes))
    return [
        Growing(size, median(cpu for cpu, _ in found), median(rss for _, rss in found)) for size, found in runs.items()
    ]


def _by_seconds(cores: Cores, folder: Path, seconds: float, note: Callable[[str], None]) -> list[Growing]:
    """Repeat a feed at a rate, and sample the bridge at intervals."""
    trials = Trials(Embedded(cores), cores, folder / "runs")
    feed = build(Recipe(QUOTES, LINES))
    with trials.subscribed(BRIDGE, feed, feed.save(folder / "feed")) as (subject, feeder, consuming):
        feeder.tell(f"loop {RATE} {seconds:g}")
        samples = [(time.monotonic(), subject.cpu_seconds(), subject.memory_bytes())]
        started = samples[0][0]
        while samples[-1][0] - started < seconds - SAMPLE_SECONDS / 2:
            note(f"growth over time: {samples[-1][0] - started:.0f} of {seconds:.0f} s")
            time.sleep(SAMPLE_SECONDS)
            samples.append((time.monotonic(), subject.cpu_seconds(), subject.memory_bytes()))
        sent = int(RATE * seconds)
        feeder.hear()  # it has sent all
        wait_until(lambda: len(consuming) >= sent, f"all of {sent} records on Kafka")
    return [
        Growing(there[0] - started, (there[1] - here[1]) / (there[0] - here[0]) / RATE * 1e6, there[2])
        for here, there in pairwise(samples)
    ]


def _start_seconds(cores: Cores, folder: Path, note: Callable[[str], None]) -> float:
    """Return how long it takes from the start of the process to its first market record on Kafka."""
    note(f"start with {SYMBOLS[-1]:,} symbols")
    with (
        _simulator(cores, folder) as url,
        Embedded(cores).target(folder) as target,
        closing(Consuming(target, list(SUBSCRIBABLE))) as consuming,
    ):
        environ = bridge_settings(url, symbols(SYMBOLS[-1]), target)
        started = time.monotonic()
        with Child(BRIDGE.command, environ, cores.subject, folder / "bridge.log"):
            return wait_until(lambda: len(consuming) > 0, "the first record") - started


@contextmanager
def _simulator(cores: Cores, folder: Path) -> Iterator[str]:
    with Child(
        python("tests.programs.bench.simulated", str(START_RATE)), {}, cores.others, folder / "simulator.log"
    ) as child:
        yield child.hear()["url"]


def _steady(what: str, sizes: Sequence[Growing]) -> Verdict:
    """Compare the ends by CPU time: of samples over time the thirds there, which single ones would not stand for."""
    target = f"CPU per record within {MOST_DIFFERENCE:.0%} {what}"
    if len(sizes) < 2:
        return Verdict(target, "not measured", met=False)
    third = max(1, len(sizes) // 3) if len(sizes) > len(SYMBOLS) else 1
    first, last = (median(one.cpu_us for one in some) for some in (sizes[:third], sizes[-third:]))
    difference = last / first - 1
    return Verdict(target, f"{difference:+.0%} ({first:.1f} to {last:.1f} µs)", abs(difference) <= MOST_DIFFERENCE)
