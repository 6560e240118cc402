"""``aries-bridge dev``: its options, and its end."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer resolves it to know what the option takes
from typing import Annotated, Literal

import typer

_SIMULATOR = "Simulator"


def dev(
    *,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; default: at Ctrl-C.", min=0)] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Print plain lines each second, no live table.")] = False,
    symbols: Annotated[
        str | None, typer.Option(help="Symbols with commas between, instead of ARIES_SYMBOLS.", show_default=False)
    ] = None,
    dialect: Annotated[
        Literal["auto", "action", "envelope"] | None,
        typer.Option(help="What to speak, instead of ARIES_DIALECT.", show_default=False),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Market events per second; default: 200.", min=0, rich_help_panel=_SIMULATOR),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed makes the same market; default: 0.", rich_help_panel=_SIMULATOR),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            help='Faults by the clock: a JSON list like [{"at": 5, "fault": "drop"}].', rich_help_panel=_SIMULATOR
        ),
    ] = None,
) -> None:
    """Run the service with whatever is missing made up, and show what flows.

    It is the service of `aries-bridge run`, unchanged. Where ARIES_WS_URL is
    not set, the built-in simulator stands in for Aries; where
    KAFKA_BOOTSTRAP_SERVERS is not set, an embedded broker in memory stands in
    for Kafka. The table shows what a consumer reads back from Kafka. All share
    one process, so the rates it reaches are no benchmark. Ctrl-C drains.
    """
    import uvloop  # noqa: PLC0415 - the other commands start faster without it

    from bridge.dev.play import play  # noqa: PLC0415 - likewise
    from bridge.dev.stage import Wishes  # noqa: PLC0415 - likewise

    wishes = Wishes(symbols=symbols, dialect=dialect, rate=rate, seed=seed, script=script)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(play(wishes, seconds=seconds, plain=plain))
        except asyncio.CancelledError:
            typer.echo("aries-bridge: interrupted before the bridge had started.", err=True)
