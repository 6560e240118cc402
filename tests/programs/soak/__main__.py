"""Soak the bridge: inject random faults by seed for minutes or hours, and verify that nothing was lost silently.

    python -m tests.programs.soak --minutes 5 --seed 7

It starts a real Apache Kafka, the simulator, and ``aries-bridge run``. Exit code 0: the bridge recovered from each
fault, and everything is accounted for; 1: not. The same seed injects the same faults in the same order. A report is
written at the end; if the soak fails, the logs of the bridge are kept beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import traceback
from itertools import islice
from pathlib import Path
from random import SystemRandom

from rich.console import Console

from tests.programs.soak.kafka_kinds import AUTHORIZER
from tests.programs.soak.kinds import NoSuchKind, kinds
from tests.programs.soak.plan import steps
from tests.programs.soak.run import Options, Soak
from tests.support.brokers import RealKafka
from tests.support.kafka_distribution import KafkaMissing

PLANNED = 40
#: Brokers close idle connections soon, so that a closed market of some seconds is long enough.
IDLE_CONNECTIONS = {"connections.max.idle.ms": "15000"}


def main(arguments: list[str] | None = None) -> str | int:
    """Run a soak; return its exit code, or what is wrong with the arguments."""
    given = _parser().parse_args(arguments)
    try:
        chosen = kinds(given.brokers, [name for name in given.only.split(",") if name], group=given.group)
    except NoSuchKind as error:
        return f"{error}; --list names them"
    if given.list:
        return _say("\n".join(f"{kind.family:<8} {kind.name}" for kind in chosen))
    seed = SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    if given.plan:
        return _say("\n".join(map(str, islice(steps(seed, chosen), PLANNED))))
    seconds = given.minutes * 60 + given.hours * 3600
    options = Options(
        seed=seed,
        seconds=seconds,
        rate=given.rate,
        symbols=given.symbols,
        brokers=given.brokers,
        group=given.group,
    )
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    _say(f"seed {seed}: {len(chosen)} kinds of fault for {seconds:.0f} s, in {directory}")
    report = given.json or Path(tempfile.gettempdir()) / f"soak-{seed}.json"
    properties = {**IDLE_CONNECTIONS, **(AUTHORIZER if options.brokers == 1 else {})}
    try:
        with RealKafka(directory, options.brokers, properties) as kafka:
            soak = Soak(options, kafka, chosen, _say)
            verdict = soak.verdict
            try:
                asyncio.run(soak.run())
            except Exception:  # noqa: BLE001 - whatever it is, the report of an hour is written
                verdict.problems.append(f"the soak itself failed: {traceback.format_exc()}")
    except KafkaMissing as missing:
        return f"there is no real Kafka: {missing}"
    finally:
        if not given.keep:
            shutil.rmtree(directory, ignore_errors=True)
    if given.keep or not verdict.passed:
        directory.mkdir(exist_ok=True)
        soak.write_logs(directory)
        _say(f"the logs of the bridge are in {directory}")
    report.write_text(json.dumps(verdict.to_json(), indent=1))
    _say(f"the report is {report}")
    for problem in verdict.problems:
        _say(f"PROBLEM  {problem}")
    Console(highlight=False).print(verdict.table())
    return 0 if verdict.passed else 1


def _say(line: str) -> int:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.soak", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--minutes", type=float, default=3, help="how long faults are injected (default: 3)")
    add("--hours", type=float, default=0, help="… and hours")
    add("--seed", type=int, help="which faults, and when; default: random, and printed")
    add("--rate", type=float, default=3000, help="market events per second (default: 3000)")
    add("--symbols", type=int, default=50, help="how many symbols (default: 50)")
    add("--brokers", type=int, default=3, choices=(1, 3), help="brokers of the cluster (default: 3)")
    add("--group", type=int, default=0, metavar="N", help="N processes that share N shards, with faults of their own")
    add("--only", default="", metavar="NAMES", help="kinds or families of fault, separated by commas")
    add("--list", action="store_true", help="list the kinds of fault, and do nothing else")
    add("--plan", action="store_true", help=f"print the first {PLANNED} steps of the seed, and do nothing else")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="file of the report (default: soak-SEED.json in the directory of temporary files)",
    )
    add("--keep", action="store_true", help="keep the brokers' logs and data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
