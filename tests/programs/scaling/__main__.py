"""Measure what a group of bridges takes, by symbols, rate and shards.

    python -m tests.programs.scaling --seconds 15

Everything runs on this machine: Apache Kafka, the simulator, and the processes, which own a shard each. Where its
processors are used up, fewer records arrive than are offered. The output is a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.programs.scaling.load import Size, measure
from tests.support.brokers import RealKafka, unique
from tests.support.kafka_distribution import KafkaMissing

SIZES = (
    *(Size(symbols, rate, 1) for symbols in (10, 1000, 5000) for rate in (1000, 5000)),
    *(Size(1000, rate, shards) for rate in (2000, 6000) for shards in (2, 3)),
)
COLUMNS = (
    *("symbols", "offered/s", "shards", "records/s", "CPU of each, %", "CPU a record, µs", "MB"),
    *("broker, %", "batches/s"),
)
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---:|' * len(COLUMNS)}\n"


def main() -> str | int:
    """Measure each size; return what is missing, or 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=15, help="how long each size is measured")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory, RealKafka(Path(directory)) as kafka:
            sys.stdout.write(HEADER)
            for size in SIZES:
                load = asyncio.run(measure(size, kafka, unique("scaling"), given.seconds))
                sys.stdout.write(f"{load}\n")
                sys.stdout.flush()
    except KafkaMissing as missing:
        return f"there is no real Kafka: {missing}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
