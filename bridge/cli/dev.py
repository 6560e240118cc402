"""``aries-bridge dev``: its options."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer resolves it to know what the option takes
from typing import Annotated, Literal

import typer

from bridge.cli.terminal import note, run_until_signal

_SIMULATOR = "Simulator"


def dev(
    *,
    seconds: Annotated[float | None, typer.Option(help="Stop after this time; default: at Ctrl-C.", min=0)] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Print plain lines each second, no live table.")] = False,
    symbols: Annotated[
        str | None, typer.Option(help="Symbols, separated by commas, instead of ARIES_SYMBOLS.", show_default=False)
    ] = None,
    dialect: Annotated[
        Literal["auto", "action", "envelope"] | None,
        typer.Option(help="Dialect of the Aries socket, instead of ARIES_DIALECT.", show_default=False),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Market events per second; default: 200.", min=0, rich_help_panel=_SIMULATOR),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the random market; default: 0.", rich_help_panel=_SIMULATOR),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            help='Faults at set times: a JSON list like [{"at": 5, "fault": "drop"}].', rich_help_panel=_SIMULATOR
        ),
    ] = None,
) -> None:
    """Run the service with a simulator and an embedded broker, and show its records.

    It is the service of `aries-bridge run`, unchanged. Unless ARIES_WS_URL is
    set, the built-in simulator replaces Aries; unless KAFKA_BOOTSTRAP_SERVERS
    is set, an embedded broker in memory replaces Kafka. The table shows what a
    consumer reads back from Kafka. All run in one process, so the rates it
    reaches are no benchmark. Ctrl-C drains.
    """
    from bridge.dev import environment, runner  # noqa: PLC0415 - the other commands start faster without it
    from bridge.network import event_loop  # noqa: PLC0415 - likewise

    options = environment.Options(symbols=symbols, dialect=dialect, rate=rate, seed=seed, script=script)
    if not event_loop.run(run_until_signal(runner.run(options, seconds=seconds, plain=plain))):
        note("interrupted before the bridge had started.")
