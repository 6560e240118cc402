"""Keep the table of metrics in ``bridge/observability/README.md`` equal to the metrics.

``python -m tests.programs.docs.http_paths --write`` puts it in; without ``--write`` it only checks it.
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

README: Final = PACKAGE / "observability/README.md"
BEGIN: Final = "<!-- metrics:begin -->\n"
END: Final = "<!-- metrics:end -->"
LEAST: Final = {"ARIES_ACCESS_TOKEN": "token", "ARIES_SYMBOLS": "AAPL", "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}
#: No sample from the start, but for another reason than that the value is not known.
COUNTED_AS_THEY_COME: Final = "unknown_fields_total"


async def table() -> str:
    """Return the table of a bridge's metrics, in the order in which they are exposed."""
    bridge = Bridge(settings.load(LEAST))
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *_rows(bridge)]) + "\n"


def _rows(bridge: Bridge) -> Iterator[str]:
    # Data that is not known at the start, so that its labels are seen.
    labels = {"last_data_timestamp_seconds": "topic", COUNTED_AS_THEY_COME: "field"}
    for family in BridgeCollector(bridge, RateHistory(bridge.accounts), str).collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        name = family.name.removeprefix(PREFIX) + suffix
        unknown = "" if family.samples or name == COUNTED_AS_THEY_COME else " *"
        seen = {label for sample in family.samples for label in sample.labels} - {"le"}
        told = ", ".join(sorted(seen, reverse=True)) or labels.get(name, "")
        yield f"| `{name}`{unknown} | {family.type} | {told} | {family.documentation} |"


def generated(readme: str) -> str:
    """Return the README with the table of metrics as it is now."""
    return with_part(README, readme, BEGIN, asyncio.run(table()), END)


def main(*, write: bool) -> str | None:
    """Write or check the README; return what is wrong with it."""
    return generated_part.main("tests.programs.docs.http_paths", README, generated, ["--write"] if write else [])


if __name__ == "__main__":
    sys.exit(main(write="--write" in sys.argv[1:]))
