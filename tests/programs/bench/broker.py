"""The embedded broker as a process of its own: ``python -m tests.programs.bench.broker TOPIC…``."""

from __future__ import annotations

import json
import sys

from bridge.kafka.embedded_broker import EmbeddedBroker


def main(topics: list[str]) -> None:
    """Run until standard input ends."""
    with EmbeddedBroker() as broker:
        broker.create_topics(topics)
        print(json.dumps({"bootstrap_servers": broker.bootstrap_servers}), flush=True)  # noqa: T201 - its answer
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
