"""Soak the bridge: random faults by seed, for minutes or hours, and the proof that nothing was lost in silence.

    python -m tests.programs.soak --minutes 5 --seed 7

It starts a real Apache Kafka, the simulator, and ``aries-bridge run``; exit code 0: all recovered and proven, 1: not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from itertools import islice
from pathlib import Path
from random import SystemRandom

from rich.console import Console

from tests.programs.soak.kinds import NoSuchKind, kinds
from tests.programs.soak.plan import steps
from tests.programs.soak.run import Options, Soak
from tests.support.brokers import RealKafka
from tests.support.kafka_distribution import KafkaMissing

PLANNED = 40


def main(arguments: list[str] | None = None) -> str | int:
    """Run a soak; return its exit code, or what is wrong with the arguments."""
    given = _parser().parse_args(arguments)
    try:
        chosen = kinds(given.brokers, [name for name in given.only.split(",") if name])
    except NoSuchKind as error:
        return f"{error}; --list names them"
    if given.list:
        return _say("\n".join(f"{kind.family:<8} {kind.name}" for kind in chosen))
    seed = SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    if given.plan:
        return _say("\n".join(map(str, islice(steps(seed, chosen), PLANNED))))
    seconds = given.minutes * 60 + given.hours * 3600
    options = Options(seed=seed, seconds=seconds, rate=given.rate, symbols=given.symbols, brokers=given.brokers)
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    _say(f"seed {seed}: {len(chosen)} kinds of fault for {seconds:.0f} s, in {directory}")
    try:
        with RealKafka(directory, options.brokers) as kafka:
            soak = Soak(options, kafka, chosen, _say)
            verdict = asyncio.run(soak.run())
    except KafkaMissing as missing:
        return f"there is no real Kafka: {missing}"
    finally:
        if not given.keep:
            shutil.rmtree(directory, ignore_errors=True)
    if given.keep:
        soak.write_logs(directory)
    if given.json:
        given.json.write_text(json.dumps(verdict.to_json(), indent=1))
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
    add("--minutes", type=float, default=3, help="for how long things go wrong (default: 3)")
    add("--hours", type=float, default=0, help="… and hours")
    add("--seed", type=int, help="what goes wrong and when; default: by chance, and told")
    add("--rate", type=float, default=3000, help="market events per second (default: 3000)")
    add("--symbols", type=int, default=50, help="how many symbols (default: 50)")
    add("--brokers", type=int, default=3, choices=(1, 3), help="brokers of the cluster (default: 3)")
    add("--only", default="", metavar="NAMES", help="kinds of fault, or families of them, with commas between")
    add("--list", action="store_true", help="only name the kinds of fault")
    add("--plan", action="store_true", help=f"only tell the first {PLANNED} steps of the seed")
    add("--json", type=Path, metavar="FILE", help="write all that was found there")
    add("--keep", action="store_true", help="keep the brokers' logs and data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
