"""Measure how long consumers miss a shard when its owner ends.

    python -m tests.programs.handover --repeats 5

It starts Apache Kafka, the simulator and the processes of a group, ends owners in several ways, proves with ``verify``
that each symbol had one owner at a time, and prints the gaps between the last record of one owner and the first of the
next. Times are those of a machine that runs all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.programs.handover.cases import CASES, Case, measure
from tests.support.brokers import RealKafka, unique
from tests.support.kafka_distribution import KafkaMissing


def main() -> str | int:
    """Run the cases; return what is missing, or 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, help="how often each case is repeated")
    parser.add_argument("--only", default="", help="a part of the name of the cases to run")
    given = parser.parse_args()
    chosen = [case for case in CASES if given.only in case.name]
    if given.repeats:
        chosen = [replace(case, repeats=given.repeats) for case in chosen]
    try:
        for brokers in sorted({case.brokers for case in chosen}):
            _run(brokers, [case for case in chosen if case.brokers == brokers])
    except KafkaMissing as missing:
        return f"there is no real Kafka: {missing}"
    return 0


def _run(brokers: int, cases: list[Case]) -> None:
    with tempfile.TemporaryDirectory() as directory, RealKafka(Path(directory), brokers) as kafka:
        for case in cases:
            gaps = asyncio.run(measure(case, kafka, unique("handover")))
            sys.stdout.write(f"{case.name:<44} {gaps}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
