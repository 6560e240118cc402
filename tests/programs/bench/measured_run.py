"""``aries-bridge run``, with measured latencies: ``python -m tests.programs.bench.measured_run FILE``.

For the latency cases alone; throughput is measured on the command as it is. The bridge's own histogram has the
oldest record of each batch, in buckets: too coarse for a percentile.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bridge import app
from bridge.cli import main as cli
from bridge.observability.latency import LatencyMetrics
from bridge.topics import Topic
from tests.programs.bench.latencies import Latencies

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import PartitionQueue


def main(file: Path) -> None:
    """Run the service, then write the latencies."""
    latencies = Latencies()

    class EveryRecord(LatencyMetrics):
        def acknowledged(self, queue: PartitionQueue, now: float, now_us: int) -> None:
            super().acknowledged(queue, now, now_us)
            if queue.topic is not Topic.CONTROL:
                latencies.note_all((record[0] for record in queue.in_flight), now_us)

    setattr(app, "LatencyMetrics", EveryRecord)  # noqa: B010 - the bridge makes its own; mypy knows that it is imported there
    sys.argv[1:] = ["run"]
    try:
        cli.main()
    finally:
        latencies.save(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
