"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

BootstrapServers = Annotated[
    str | None, typer.Option("--bootstrap-servers", "-b", help="Instead of KAFKA_BOOTSTRAP_SERVERS.")
]
