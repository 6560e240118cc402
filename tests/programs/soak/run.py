"""One soak: inject faults step by step, wait for recovery after each, and verify the topics at the end."""

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
from tests.programs.soak.group_testbed import GroupTestbed
from tests.programs.soak.judge import ProcessRecord, judge, judge_group
from tests.programs.soak.plan import steps
from tests.programs.soak.resource_usage import sample
from tests.programs.soak.testbed import DRAIN_SECONDS, EXIT_SECONDS, Testbed
from tests.programs.soak.topic_contents import read_topics
from tests.programs.soak.verdict import Played, Verdict, loss_counts
from tests.support.process import process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.programs.soak.bridge_process import BridgeProcess
    from tests.programs.soak.plan import Kind, Step
    from tests.programs.soak.topic_contents import TopicContents
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

#: Time for the libraries to load what they load once, before memory is compared.
WARM_UP_SECONDS = 6.0
FOLLOWER_SECONDS = 300.0
PROGRESS_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a soak."""

    seed: int
    seconds: float
    rate: float = 3000
    symbols: int = 50
    brokers: int = 3
    #: How many processes share as many shards; 0: one process that is no member of a group.
    group: int = 0
    prefix: str = "soak"
    warm_up_seconds: float = WARM_UP_SECONDS


class Soak:
    """A soak; ``say`` gets a line for each step, and lines of progress."""

    def __init__(self, options: Options, kafka: RealKafka, kinds: Sequence[Kind], say: Callable[[str], object]) -> None:
        self._options = options
        self._kinds = kinds
        self._say = say
        self._began = time.monotonic()
        self._kafka_side = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": options.prefix,
        }
        self._testbed = _testbed(kafka, options)
        self.verdict = Verdict(options.seed, 0.0, options.rate)

    async def run(self) -> Verdict:
        """Inject faults until the time is over, then verify and judge."""
        async with self._testbed as testbed:
            await testbed.start_bridge()
            progress = asyncio.create_task(self._report_progress())
            try:
                async with process(self._kafka_side, "verify", "--follow", "--json") as follower:
                    await self._recover()
                    await self._play_all()
                    await self._finish()
                    await self._end_follower(follower)
            finally:
                progress.cancel()
        self._say(f"{self._elapsed():6.1f} s  the bridge has ended; verifying all topics")
        contents, _ = await asyncio.gather(
            read_topics(kafka_settings(environ=self._kafka_side)),
            self._verify(),
        )
        self._say(f"{self._elapsed():6.1f} s  verified")
        self._judge(contents)
        return self.verdict

    async def _report_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            own = sample(os.getpid(), time.time(), steady=False)
            memory_mib = (own.rss_bytes if own else 0) >> 20
            injected = self.verdict.tried.total()
            failed = len(self.verdict.unrecovered) + len(self.verdict.problems)
            lines, total = self._testbed.simulator.sent.lines, self._options.seconds
            self._say(
                f"{self._elapsed():6.1f} s of {total:.0f} s: {lines:,} lines sent, "
                f"{injected} faults injected, {failed} failures, memory of the soak itself {memory_mib} MiB"
            )

    # -- steps -----------------------------------------------------------------------------------------------------

    async def _play_all(self) -> None:
        self._set_steady(steady=True)
        await asyncio.sleep(self._options.warm_up_seconds)
        for step in steps(self._options.seed, self._kinds):
            await asyncio.sleep(step.steady_seconds)
            await self._play(step)
            if self._elapsed() > self._options.seconds:
                break
        await asyncio.sleep(self._options.warm_up_seconds)

    async def _play(self, step: Step) -> None:
        testbed, began = self._testbed, self._elapsed()
        before = testbed.bridge.usage[-1].rss_bytes if testbed.bridge.usage else 0
        processes = len(testbed.processes)
        self._set_steady(steady=False)
        outcomes = await asyncio.gather(
            *(fault.kind.play(testbed, **fault.parameters) for fault in step.faults), return_exceptions=True
        )
        for fault, outcome in zip(step.faults, outcomes, strict=True):
            if isinstance(outcome, Exception):  # of the soak itself: it goes on, but has not passed
                self.verdict.problems.append(f"{step}: {fault.kind.name} was not injected as meant: {outcome!r}")
        healed = self._elapsed()
        problem = await self._recover()
        expected, testbed.problems = testbed.problems, []
        notes, testbed.notes = testbed.notes, []
        self.verdict.problems += [f"{step}: {one}" for one in expected]
        highest = max((seen.rss_bytes for seen in self._since(began)), default=before)
        played = Played(
            step,
            round(began, 1),
            round(healed - began, 1),
            round(self._elapsed() - healed, 1),
            problem,
            before,
            highest if len(testbed.processes) == processes else before,
            testbed.bridge.number,
        )
        self.verdict.played.append(played)
        result = problem or f"recovered {played.recovery_seconds} s after {played.seconds} s"
        result = "; ".join([result, *notes, *(f"FAILED: {one}" for one in expected)])
        self._say(f"{began:6.1f} s  process {played.process}  {step}: {result}")

    async def _recover(self) -> str | None:
        """Wait until data flows again; replace a bridge that does not recover, so that the soak can go on."""
        testbed = self._testbed
        problem = await testbed.recovered()
        if problem is not None:
            await testbed.restart(signal.SIGKILL)
            again = await testbed.recovered()
            problem = problem if again is None else f"{problem}; and another did not either: {again}"
        self._set_steady(steady=True)
        return problem

    def _set_steady(self, *, steady: bool) -> None:
        for bridge in self._testbed.running:
            bridge.steady = steady

    def _since(self, began: float) -> list[Any]:
        wall = time.time() - (self._elapsed() - began)
        return [seen for seen in self._testbed.bridge.usage if seen.at_seconds >= wall]

    def write_logs(self, directory: Path) -> None:
        """Write the log of each process of the bridge."""
        for bridge in self._testbed.processes:
            (directory / f"bridge-{bridge.number}.log").write_text("".join(bridge.process.text))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Let the bridge read everything that was sent, and stop it."""
        testbed = self._testbed
        testbed.simulator.inject_nowait(faults.NoPongs(protocol=False))  # they would be lines that come on and on
        if not await testbed.all_read():
            self.verdict.problems.append(
                "with the market stopped, the bridge does not stop reading, or does not answer"
            )
        elif testbed.simulator.sessions:
            testbed.connection_log.set_read_completely(testbed.simulator.sessions[-1].number)
        await testbed.stop_bridge(signal.SIGTERM)
        self.verdict.seconds = self._elapsed()

    async def _end_follower(self, follower: Process) -> None:
        """Stop ``verify --follow``; it must not have found any violation either."""
        follower.signal(signal.SIGINT)
        async with asyncio.timeout(FOLLOWER_SECONDS):
            code = await follower._subprocess.wait()
            await asyncio.gather(*follower._reading)
        found = [line for line in follower.output.splitlines() if '"finding"' in line]
        if code != 0:
            self.verdict.problems.append(
                f"verify --follow exited with code {code}; its output was {found[:3]} {follower.text[-3:]}"
            )

    async def _verify(self) -> None:
        """Run ``aries-bridge verify`` over all topics."""
        verifying = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", "verify", "--json"),
            env={"PATH": os.environ["PATH"], **self._kafka_side},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await verifying.communicate()
        self.verdict.verify_exit_code = verifying.returncode
        self.verdict.verified = json.loads(output) if output else {}

    def _judge(self, contents: TopicContents) -> None:
        changed = self._testbed.changed_symbols
        processes = [
            _process_record(bridge, frozenset(changed.get(bridge.number, ()))) for bridge in self._testbed.processes
        ]
        connections = self._testbed.connection_log.connections()
        exit_seconds = DRAIN_SECONDS + EXIT_SECONDS
        if self._options.group:
            late = sum(row["late_records"] for row in self.verdict.verified.get("topics", []))
            brokers = self._options.brokers
            problems = judge_group(processes, contents, late_records=late, exit_seconds=exit_seconds, brokers=brokers)
        else:
            problems = judge(processes, connections, contents, exit_seconds=exit_seconds)
        self.verdict.problems += problems
        accounts = [bridge.stopped or {} for bridge in processes]
        self.verdict.totals = {
            **loss_counts(self.verdict.verified),
            "conflated": sum(counts.get("conflated", 0) for counts in accounts),
            "dropped, announced": sum(counts.get("dropped", 0) for counts in accounts),
            "undelivered at exits": sum(counts.get("undelivered", 0) for counts in accounts),
            "lines sent": sum(one.lines for one in connections),
            "processes": len(processes),
            "sessions": sum(len(bridge.sessions) for bridge in processes),
            "connections": len(connections),
            "producers rebuilt": sum(
                len(bridge.process.all("new producer ready")) for bridge in self._testbed.processes
            ),
            "errors inside the Kafka client": sum(
                sum(map(_is_of_aiokafka, _errors_logged(bridge))) for bridge in self._testbed.processes
            ),
            "most open files": max((seen.files for bridge in processes for seen in bridge.usage), default=0),
        }


def _testbed(kafka: RealKafka, options: Options) -> Testbed:
    seed, rate, symbols, brokers = options.seed, options.rate, options.symbols, options.brokers
    if not options.group:
        return Testbed(kafka, options.prefix, seed=seed, rate=rate, symbol_count=symbols, brokers=brokers)
    return GroupTestbed(
        kafka, options.prefix, seed=seed, rate=rate, symbol_count=symbols, brokers=brokers, count=options.group
    )


def _process_record(bridge: BridgeProcess, changed_symbols: frozenset[str]) -> ProcessRecord:
    return ProcessRecord(
        number=bridge.number,
        began_us=bridge.began_us,
        sessions=bridge.sessions,
        stopped=bridge.stopped,
        exit_code=bridge.exit_code,
        signals=bridge.signals,
        shutdown_seconds=bridge.shutdown_seconds,
        budget_bytes=int(bridge.environ["BRIDGE_BUFFER_BYTES"]),
        usage=bridge.usage,
        unexpected_output=_unexpected_output(bridge),
        changed_symbols=changed_symbols,
    )


def _unexpected_output(bridge: BridgeProcess) -> list[str]:
    """Return output that no fault may cause: text outside the log, tracebacks, and errors of asyncio."""
    texts = "".join(text for text in bridge.process.text if not text.startswith("{")).strip()
    errors = [
        f"{line['event']} {line.get('exception', '')}" for line in _errors_logged(bridge) if not _is_of_aiokafka(line)
    ]
    return [f"unexpected output: {error[-2000:]}" for error in (texts, *errors) if error]


def _errors_logged(bridge: BridgeProcess) -> list[dict[str, Any]]:
    return [
        line
        for line in bridge.process.logs
        if line["logger"] == "asyncio" or line["event"] == "unexpected error" or "exception" in line
    ]


def _is_of_aiokafka(line: dict[str, Any]) -> bool:
    """Return whether a task of the library failed: those of a replaced producer do, without effect on the next one."""
    return not line["logger"].startswith("bridge") and "aiokafka" in str(line)
