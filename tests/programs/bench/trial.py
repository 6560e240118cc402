"""One run: a feed, a broker, one bridge between them, and the measurements."""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tests.programs.bench.children import TICK_SECONDS, Child, Cores, wait_until
from tests.programs.bench.frames import symbols
from tests.programs.bench.machine import stolen_seconds
from tests.programs.bench.readback import Consuming, Void

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.programs.bench.brokers import Brokers, Target
    from tests.programs.bench.frames import Feed

Side = Literal["bridge", "baseline"]
SIDES: Final[tuple[Side, Side]] = ("bridge", "baseline")
_COMMANDS: Final[dict[Side, list[str]]] = {
    "bridge": ["-m", "bridge", "run"],
    "baseline": ["-m", "tests.programs.bench.baseline"],
}
_MEASURED: Final[dict[Side, list[str]]] = {
    "bridge": ["-m", "tests.programs.bench.measured_run"],
    "baseline": ["-m", "tests.programs.bench.baseline"],
}
#: The timeout of a run; a baseline on a busy machine takes long.
FEED_DEADLINE_SECONDS: Final = 400.0
#: The share of stolen CPU time above which a run at a given rate is repeated, and the most runs.
CALM: Final = 0.01
MAX_RUNS: Final = 4
_PATHS: Final = {"envelope": "/v1/market/ws", "action": "/v1/marketdata/ws"}


@dataclass(frozen=True, slots=True)
class Throughput:
    """The measurements of a run at full speed: ``others_busy`` is a share of the wall time.

    A line that cannot become a record counts as one, too.
    """

    records: int
    wall_seconds: float
    cpu_seconds: float
    feeder_cpu_seconds: float
    others_busy: float
    rss_peak_bytes: int
    rss_end_bytes: int
    #: The same for the second half of the records, with warm caches.
    settled_records: int
    settled_cpu_seconds: float

    @property
    def settled_cpu_us(self) -> float:
        """Return CPU time per record in µs, from the middle of the run on."""
        return self.settled_cpu_seconds / self.settled_records * 1e6

    @property
    def cpu_us(self) -> float:
        """Return CPU time per record in µs; a run that took less than a tick counts as one tick."""
        return max(self.cpu_seconds, TICK_SECONDS) / self.records * 1e6

    @property
    def per_second(self) -> float:
        """Return records per second of wall time."""
        return self.records / self.wall_seconds


@dataclass(frozen=True, slots=True)
class Latency:
    """The measurements of a run at a given rate; times in milliseconds unless named otherwise."""

    offered: int
    records: int
    percentiles: dict[str, float]
    cpu_seconds: float
    feed_seconds: float
    behind_seconds: float
    rss_peak_bytes: int
    #: The share of CPU time stolen from this machine.
    stolen: float

    @property
    def share_of_core(self) -> float:
        """Return the share of a core that the bridge used."""
        return self.cpu_seconds / (self.feed_seconds + self.behind_seconds)


class Trials:
    """A runner of one bridge at a time, on its own core, with production settings."""

    def __init__(self, brokers: Brokers, cores: Cores, folder: Path) -> None:
        self._brokers = brokers
        self._cores = cores
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def full_speed(self, side: Side, feed: Feed, saved: Path) -> Throughput:
        """Send a feed at full speed; raise Void if the records are wrong."""
        with self._between(side, feed, saved, _COMMANDS[side]) as (subject, feeder, target, consuming):
            before, others_before = subject.cpu_seconds(), _cpu(target.process)
            started = time.monotonic()
            feeder.tell("go")
            _published(consuming, feed.published // 2, subject)
            middle, middle_cpu_seconds = len(consuming), subject.cpu_seconds()
            fed = feeder.hear(FEED_DEADLINE_SECONDS)
            ended = _published(consuming, feed.published, subject)
            cpu_seconds = subject.cpu_seconds() - before
            others = _cpu(target.process) - others_before + fed["cpu_seconds"]
            result = Throughput(
                records=feed.recipe.lines,
                wall_seconds=ended - started,
                cpu_seconds=cpu_seconds,
                feeder_cpu_seconds=fed["cpu_seconds"],
                others_busy=others / (ended - started),
                rss_peak_bytes=subject.memory_bytes("VmHWM"),
                rss_end_bytes=subject.memory_bytes(),
                settled_records=round(feed.recipe.lines * (1 - middle / feed.published)),
                settled_cpu_seconds=cpu_seconds + before - middle_cpu_seconds,
            )
            consuming.check(feed.records)
            _end(subject)
        return result

    def at_rate(self, side: Side, feed: Feed, saved: Path, per_second: int) -> Latency:
        """Send a feed at a rate in lines a second; raise Void if the records are wrong.

        While CPU time is stolen, nothing is answered: of a few runs, the one with the least stolen time counts.
        """
        runs: list[Latency] = []
        while len(runs) < MAX_RUNS and all(run.stolen > CALM for run in runs):
            runs.append(self._at_rate(side, feed, saved, per_second))
        return min(runs, key=lambda run: run.stolen)

    def _at_rate(self, side: Side, feed: Feed, saved: Path, per_second: int) -> Latency:
        file = self._folder / "latencies.json"
        with self._between(side, feed, saved, [*_MEASURED[side], str(file)]) as (subject, feeder, _, consuming):
            before, stolen_before, started = subject.cpu_seconds(), stolen_seconds(), time.monotonic()
            feeder.tell(f"go {per_second}")
            fed = feeder.hear(FEED_DEADLINE_SECONDS)
            ended = _published(consuming, feed.published, subject)
            cpu_seconds = subject.cpu_seconds() - before
            stolen = (stolen_seconds() - stolen_before) / (ended - started)
            rss_peak_bytes = subject.memory_bytes("VmHWM")
            consuming.check(feed.records)
            _end(subject)
        return Latency(
            offered=per_second,
            records=feed.recipe.lines,
            percentiles=json.loads(file.read_text("utf-8")),
            cpu_seconds=cpu_seconds,
            feed_seconds=fed["seconds"],
            behind_seconds=max(fed["late_seconds"], ended - fed["sent_at"]),
            rss_peak_bytes=rss_peak_bytes,
            stolen=stolen,
        )

    @contextmanager
    def subscribed(self, side: Side, feed: Feed, saved: Path) -> Iterator[tuple[Child, Child, Consuming]]:
        """Run a bridge that has subscribed to a feeder; yield it, the feeder, the broker, and a consumer."""
        with self._between(side, feed, saved, _COMMANDS[side]) as (subject, feeder, _, consuming):
            yield subject, feeder, consuming

    @contextmanager
    def _between(
        self, side: Side, feed: Feed, saved: Path, command: list[str]
    ) -> Iterator[tuple[Child, Child, Target, Consuming]]:
        recipe = feed.recipe
        listed = symbols(recipe.symbols)
        serving = ["-m", "tests.programs.bench.feeder", str(saved), str(recipe.lines_per_frame)]
        with (
            self._brokers.target(self._folder) as target,
            Child(serving, {}, self._cores.others, self._folder / "feeder.log") as feeder,
            Child(
                command,
                bridge_settings(f"ws://127.0.0.1:{feeder.hear()['port']}{_PATHS[recipe.dialect]}", listed, target),
                self._cores.subject,
                self._folder / f"{side}.log",
            ) as subject,
            closing(Consuming(target, feed.topics)) as consuming,
        ):
            feeder.hear()  # the bridge has subscribed
            yield subject, feeder, target, consuming


def bridge_settings(url: str, listed: list[str], target: Target) -> dict[str, str]:
    """Return the settings of production, with the addresses of feed and broker."""
    return {
        "ARIES_WS_URL": url,
        "ARIES_ACCESS_TOKEN": "a-good-token",
        "ARIES_SYMBOLS": ",".join(listed),
        "KAFKA_BOOTSTRAP_SERVERS": target.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": target.prefix,
        "BRIDGE_HTTP_HOST": "127.0.0.1",
        "BRIDGE_HTTP_PORT": "0",
    }


def _published(consuming: Consuming, records: int, subject: Child) -> float:
    """Wait for a number of records on Kafka, and return when they were there; raise Void after the timeout."""
    try:
        return wait_until(lambda: len(consuming) >= records, f"{records:,} records on Kafka")
    except TimeoutError as late:
        raise Void(f"{late}; only {len(consuming)} are there: {subject.log_tail()}") from late


def _cpu(process: Child | None) -> float:
    return process.cpu_seconds() if process is not None else 0.0


def _end(subject: Child) -> None:
    if not subject.running:
        raise Void(f"it ended during the run: {subject.log_tail()}")
    code = subject.stop()
    if code:
        raise Void(f"it ended with exit code {code}: {subject.log_tail()}")
