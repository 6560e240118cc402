"""One soak: play the steps, wait for recovery after each, and in the end prove what is left on the topics."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.settings.kafka_side import kafka_settings
from bridge.simulator import faults
from tests.programs.soak.census import take_census
from tests.programs.soak.judge import Biography, judge
from tests.programs.soak.plan import steps
from tests.programs.soak.stage import DRAIN_SECONDS, EXIT_SECONDS, Stage
from tests.programs.soak.verdict import Played, Verdict, loss_counts
from tests.support.process import process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.programs.soak.census import Census
    from tests.programs.soak.life import Life
    from tests.programs.soak.plan import Kind, Step
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

#: Time for the libraries to load what they load once, before memory is compared.
WARM_UP_SECONDS = 6.0
FOLLOWER_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """Say what is soaked, and for how long."""

    seed: int
    seconds: float
    rate: float = 3000
    symbols: int = 50
    brokers: int = 3
    prefix: str = "soak"
    warm_up_seconds: float = WARM_UP_SECONDS


class Soak:
    """Play one soak; ``say`` is told how it goes."""

    def __init__(self, options: Options, kafka: RealKafka, kinds: Sequence[Kind], say: Callable[[str], object]) -> None:
        self._options = options
        self._kinds = kinds
        self._say = say
        self._began = time.monotonic()
        self._kafka_side = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": options.prefix,
        }
        self._stage = Stage(
            kafka,
            options.prefix,
            seed=options.seed,
            rate=options.rate,
            symbol_count=options.symbols,
            brokers=options.brokers,
        )
        self.verdict = Verdict(options.seed, 0.0, options.rate)

    async def run(self) -> Verdict:
        """Play until the time is over, then judge."""
        async with self._stage as stage:
            await stage.begin_life()
            async with process(self._kafka_side, "verify", "--follow", "--json") as follower:
                await self._recover()
                await self._play_all()
                await self._finish()
                await self._end_follower(follower)
        await self._verify()
        self._judge(await take_census(kafka_settings(environ=self._kafka_side)))
        return self.verdict

    # -- steps -----------------------------------------------------------------------------------------------------

    async def _play_all(self) -> None:
        self._stage.life.calm = True
        await asyncio.sleep(self._options.warm_up_seconds)
        for step in steps(self._options.seed, self._kinds):
            await asyncio.sleep(step.calm_seconds)
            await self._play(step)
            if self._elapsed() > self._options.seconds:
                break
        await asyncio.sleep(self._options.warm_up_seconds)

    async def _play(self, step: Step) -> None:
        stage, began = self._stage, self._elapsed()
        before = stage.life.vitals[-1].rss_bytes if stage.life.vitals else 0
        lives = len(stage.lives)
        stage.life.calm = False
        async with asyncio.TaskGroup() as tasks:
            for fault in step.faults:
                tasks.create_task(fault.kind.play(stage, **fault.parameters))
        healed = self._elapsed()
        problem = await self._recover()
        highest = max((seen.rss_bytes for seen in self._since(began)), default=before)
        played = Played(
            step,
            round(began, 1),
            round(healed - began, 1),
            round(self._elapsed() - healed, 1),
            problem,
            before,
            highest if len(stage.lives) == lives else before,
            stage.life.number,
        )
        self.verdict.played.append(played)
        said = problem or f"recovered {played.recovery_seconds} s after {played.seconds} s"
        self._say(f"{began:6.1f} s  process {played.process}  {step}: {said}")

    async def _recover(self) -> str | None:
        """Wait until data flows again; a bridge that does not come to itself is ended, so that the soak can go on."""
        stage = self._stage
        problem = await stage.recovered()
        if problem is not None:
            await stage.restart(signal.SIGKILL)
            again = await stage.recovered()
            problem = problem if again is None else f"{problem}; and another did not either: {again}"
        stage.life.calm = True
        return problem

    def _since(self, began: float) -> list[Any]:
        wall = time.time() - (self._elapsed() - began)
        return [seen for seen in self._stage.life.vitals if seen.at_seconds >= wall]

    def write_logs(self, directory: Path) -> None:
        """Write what each process of the bridge has logged."""
        for life in self._stage.lives:
            (directory / f"bridge-{life.number}.log").write_text("".join(life.process.text))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Let the bridge read all there is, end it in order, and hold it to all of it."""
        stage = self._stage
        stage.simulator.inject_nowait(faults.NoPongs(protocol=False))  # they would be lines that come on and on
        if not await stage.all_read():
            self.verdict.problems.append("with the market at rest, the bridge reads on and on, or does not answer")
        elif stage.simulator.sessions:
            stage.onlooker.all_is_read(stage.simulator.sessions[-1].number)
        await stage.end_life(signal.SIGTERM)
        self.verdict.seconds = self._elapsed()

    async def _end_follower(self, follower: Process) -> None:
        """End ``verify --follow``; it must not have found anything either."""
        follower.signal(signal.SIGINT)
        async with asyncio.timeout(FOLLOWER_SECONDS):
            code = await follower._subprocess.wait()
            await asyncio.gather(*follower._reading)
        found = [line for line in follower.output.splitlines() if '"finding"' in line]
        if code != 0:
            self.verdict.problems.append(
                f"verify --follow ended with code {code}; it said {found[:3]} {follower.text[-3:]}"
            )

    async def _verify(self) -> None:
        """Run the command as its users do; a large topic may take its time."""
        verifying = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", "verify", "--json"),
            env={"PATH": os.environ["PATH"], **self._kafka_side},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await verifying.communicate()
        self.verdict.verify_exit_code = verifying.returncode
        self.verdict.verified = json.loads(output) if output else {}

    def _judge(self, census: Census) -> None:
        lives = [_biography(life) for life in self._stage.lives]
        connections = self._stage.onlooker.connections()
        self.verdict.problems += judge(lives, connections, census, exit_seconds=DRAIN_SECONDS + EXIT_SECONDS)
        accounts = [life.stopped or {} for life in lives]
        self.verdict.totals = {
            **loss_counts(self.verdict.verified),
            "conflated": sum(counts.get("conflated", 0) for counts in accounts),
            "dropped, and said so": sum(counts.get("dropped", 0) for counts in accounts),
            "undelivered at exits": sum(counts.get("undelivered", 0) for counts in accounts),
            "lines sent": sum(one.lines for one in connections),
            "processes": len(lives),
            "sessions": sum(len(life.sessions) for life in lives),
            "connections": len(connections),
            "producers rebuilt": sum(len(life.process.all("new producer ready")) for life in self._stage.lives),
            "errors inside the Kafka client": sum(
                sum(map(_is_of_aiokafka, _complaints(life))) for life in self._stage.lives
            ),
            "files open at most": max((seen.files for life in lives for seen in life.vitals), default=0),
        }


def _biography(life: Life) -> Biography:
    return Biography(
        number=life.number,
        began_us=life.began_us,
        sessions=life.sessions,
        stopped=life.stopped,
        exit_code=life.exit_code,
        signals=life.signals,
        dying_seconds=life.dying_seconds,
        budget_bytes=int(life.environ["BRIDGE_BUFFER_BYTES"]),
        vitals=life.vitals,
        outcries=_outcries(life),
    )


def _outcries(life: Life) -> list[str]:
    """Return what no fault may make it say: text beside the log, tracebacks, and complaints of asyncio."""
    texts = "".join(text for text in life.process.text if not text.startswith("{")).strip()
    cries = [f"{line['event']} {line.get('exception', '')}" for line in _complaints(life) if not _is_of_aiokafka(line)]
    return [f"it said {cry[-2000:]}" for cry in (texts, *cries) if cry]


def _complaints(life: Life) -> list[dict[str, Any]]:
    return [
        line
        for line in life.process.logs
        if line["logger"] == "asyncio" or line["event"] == "unexpected error" or "exception" in line
    ]


def _is_of_aiokafka(line: dict[str, Any]) -> bool:
    """Return whether the library's own tasks failed: an abandoned producer's do, and its successor goes on."""
    return not line["logger"].startswith("bridge") and "aiokafka" in str(line)
