"""Keep the table of metrics in ``bridge/observability/README.md`` equal to the metrics.

``python -m tests.programs.docs.http_paths --write`` updates it; without ``--write`` it is only checked.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from bridge import settings
from bridge.app import Bridge
from bridge.observability.metrics import PREFIX, BridgeCollector
from bridge.observability.rate_history import RateHistory
from tests.support import generated as generated_part
from tests.support.generated import with_part
from tests.support.paths import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

README: Final = PACKAGE / "observability/README.md"
BEGIN: Final = "<!-- metrics:begin -->\n"
END: Final = "<!-- metrics:end -->"
MINIMAL: Final = {
    "ARIES_ACCESS_TOKEN": "token",
    "ARIES_SYMBOLS": "AAPL",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
}
GROUPED: Final = {**MINIMAL, "BRIDGE_SHARD": "group"}
#: A counter whose label values are unknown at the start.
LABELS_FROM_FEED: Final = "unknown_fields_total"


async def table() -> str:
    """Return the table of a bridge's metrics, in the order in which they are exposed."""
    bridge = Bridge(settings.load(GROUPED))
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *_rows(bridge)]) + "\n"


def _families(bridge: Bridge) -> Iterator[Metric]:
    yield from BridgeCollector(bridge, RateHistory(bridge.accounts), str).collect()


def _rows(bridge: Bridge) -> Iterator[str]:
    # Labels of metrics without samples at the start.
    labels = {
        "last_data_timestamp_seconds": "topic",
        LABELS_FROM_FEED: "field",
        "shard_lease_seconds": "shard",
    }
    without_group = {family.name for family in _families(Bridge(settings.load(MINIMAL)))}
    for family in _families(bridge):
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        name = family.name.removeprefix(PREFIX) + suffix
        unknown = "" if family.samples or name == LABELS_FROM_FEED else " *"
        seen = {label for sample in family.samples for label in sample.labels} - {"le"}
        columns = ", ".join(sorted(seen, reverse=True)) or labels.get(name, "")
        grouped = "" if family.name in without_group else " †"
        yield f"| `{name}`{unknown}{grouped} | {family.type} | {columns} | {family.documentation} |"


def generated(readme: str) -> str:
    """Return the README with the present table of metrics."""
    return with_part(README, readme, BEGIN, asyncio.run(table()), END)


def main(*, write: bool) -> str | None:
    """Write or check the README; return the problem with it, if any."""
    return generated_part.main("tests.programs.docs.http_paths", README, generated, ["--write"] if write else [])


if __name__ == "__main__":
    sys.exit(main(write="--write" in sys.argv[1:]))
