"""One run: a feed, a broker, one bridge between them, and the measurements."""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.programs.bench.children import DEADLINE_SECONDS, Child, Cores, wait_until
from tests.programs.bench.frames import symbols
from tests.programs.bench.machine import stolen_seconds
from tests.programs.bench.readback import Consuming, Void
from tests.programs.bench.sides import python

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bridge.serialization.schemas import Schema
    from tests.programs.bench.brokers import Brokers, Target, Tls
    from tests.programs.bench.frames import Feed, Recipe
    from tests.programs.bench.sides import Side

#: The timeout of a run; a baseline on a busy machine takes long.
FEED_DEADLINE_SECONDS: Final = 400.0
#: The share of stolen CPU time above which a run at a given rate is repeated, and the most runs.
CALM: Final = 0.01
#: How long a bridge has been connected before a quiet run is measured.
SETTLE_SECONDS: Final = 2.0
#: The delay of a quiet feed above which a run is repeated.
PUNCTUAL_SECONDS: Final = 0.02
#: How often it is looked whether a bridge that has not subscribed yet still runs.
LOOK_SECONDS: Final = 0.1
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
        """Return CPU time per record in µs."""
        return self.cpu_seconds / self.records * 1e6

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


@dataclass(frozen=True, slots=True)
class Quiet:
    """The measurements of a run with little or nothing to do."""

    records: int
    wall_seconds: float
    cpu_seconds: float
    wake_ups: int
    rss_bytes: int
    #: How late the feed was at worst: late lines come several at a time, and cost less.
    late_seconds: float

    @property
    def millicores(self) -> float:
        """Return the share of a core in thousandths."""
        return self.cpu_seconds / self.wall_seconds * 1e3

    @property
    def wake_ups_per_second(self) -> float:
        """Return how often the process was woken."""
        return self.wake_ups / self.wall_seconds


class Trials:
    """A runner of one bridge at a time, on its own core, with production settings."""

    def __init__(self, brokers: Brokers, cores: Cores, folder: Path, further_schemas: Sequence[Schema] = ()) -> None:
        """``further_schemas`` are those of other bridges, where theirs are not ours."""
        self._brokers = brokers
        self._further_schemas = further_schemas
        self._cores = cores
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def full_speed(self, side: Side, feed: Feed, saved: Path) -> Throughput:
        """Send a feed at full speed; raise Void if the records are wrong."""
        with self._between(side, feed, saved) as (subject, feeder, target, consuming):
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
        file.unlink(missing_ok=True)
        with self._between(side, feed, saved, file) as (subject, feeder, _, consuming):
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
            percentiles=json.loads(file.read_text("utf-8")) if file.exists() else {},
            cpu_seconds=cpu_seconds,
            feed_seconds=fed["seconds"],
            behind_seconds=max(fed["late_seconds"], ended - fed["sent_at"]),
            rss_peak_bytes=rss_peak_bytes,
            stolen=stolen,
        )

    def quiet(self, side: Side, feed: Feed, saved: Path, per_second: int, seconds: float) -> Quiet:
        """Send a feed at a low rate, or nothing; raise Void if the records are wrong.

        A feed that is late sends several lines at a time: of a few runs, the one with the least delay counts.
        """
        runs: list[Quiet] = []
        while len(runs) < MAX_RUNS and all(run.late_seconds > PUNCTUAL_SECONDS for run in runs):
            runs.append(self._quiet(side, feed, saved, per_second, seconds))
        return min(runs, key=lambda run: run.late_seconds)

    def _quiet(self, side: Side, feed: Feed, saved: Path, per_second: int, seconds: float) -> Quiet:
        with self._between(side, feed, saved) as (subject, feeder, _, consuming):
            time.sleep(SETTLE_SECONDS)
            late_seconds = 0.0
            wake_ups, before, started = subject.wake_ups(), subject.cpu_seconds(), time.monotonic()
            if per_second:
                feeder.tell(f"go {per_second}")
                late_seconds = feeder.hear(FEED_DEADLINE_SECONDS)["late_seconds"]
            else:
                time.sleep(seconds)
            cpu_seconds, ended = subject.cpu_seconds() - before, time.monotonic()
            wake_ups = subject.wake_ups() - wake_ups
            _published(consuming, feed.published, subject)
            rss_bytes = subject.memory_bytes()
            consuming.check(feed.records)
            _end(subject)
        return Quiet(feed.recipe.lines, ended - started, cpu_seconds, wake_ups, rss_bytes, late_seconds)

    @contextmanager
    def subscribed(self, side: Side, feed: Feed, saved: Path) -> Iterator[tuple[Child, Child, Consuming]]:
        """Run a bridge that has subscribed to a feeder; yield it, the feeder, the broker, and a consumer."""
        with self._between(side, feed, saved) as (subject, feeder, _, consuming):
            yield subject, feeder, consuming

    @contextmanager
    def _between(
        self, side: Side, feed: Feed, saved: Path, latencies: Path | None = None
    ) -> Iterator[tuple[Child, Child, Target, Consuming]]:
        recipe = feed.recipe
        with (
            self._brokers.target(self._folder) as target,
            self._feeder(recipe, saved, target.tls if side.tls else None) as feeder,
            Child(
                side.arguments(latencies),
                self._settings(side, recipe, feeder.hear()["port"], target),
                self._cores.subject,
                self._folder / "subject.log",
            ) as subject,
            closing(Consuming(target, feed.topics, self._further_schemas)) as consuming,
        ):
            _await_subscription(feeder, subject)
            yield subject, feeder, target, consuming

    def _feeder(self, recipe: Recipe, saved: Path, tls: Tls | None) -> Child:
        certificate = [] if tls is None else [str(tls.server)]
        serving = python("tests.programs.bench.feeder", str(saved), str(recipe.lines_per_frame), *certificate)
        return Child(serving, {}, self._cores.others, self._folder / "feeder.log")

    def _settings(self, side: Side, recipe: Recipe, port: int, target: Target) -> dict[str, str]:
        listed, path = symbols(recipe.symbols), _PATHS[recipe.dialect]
        if not side.tls:
            return bridge_settings(f"ws://127.0.0.1:{port}{path}", listed, target)
        if target.tls is None:
            raise Void("this broker has no TLS: --kafka real has")
        return {**bridge_settings(f"wss://localhost:{port}{path}", listed, target), **target.tls.settings}


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


def _await_subscription(feeder: Child, subject: Child) -> None:
    """Wait until the bridge has subscribed; raise Void as soon as it has ended instead."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not feeder.has_spoken(LOOK_SECONDS):
        if not subject.running or time.monotonic() > deadline:
            raise Void(f"it has not subscribed: {subject.log_tail()}")
    feeder.hear()


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
