"""``aries-bridge simulate``: the simulator alone, for whoever wants to connect to it."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path  # noqa: TC003 - typer resolves it to know what the option takes
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.errors import SettingsError
from bridge.simulator.dialect import PriceStyle  # noqa: TC001 - likewise
from bridge.simulator.script import read_script
from bridge.simulator.server import PATHS, DialectName, Simulator

if TYPE_CHECKING:
    from bridge.simulator.world import Happening


def simulate(
    *,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8765,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    dialect: Annotated[DialectName, typer.Option(help="What to speak; auto goes by the path.")] = "auto",
    rate: Annotated[float, typer.Option(help="Market events per second over all symbols.", min=0)] = 100,
    symbols: Annotated[str, typer.Option(help="The only symbols that exist, with commas between; default: all.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed makes the same market.")] = 0,
    lines_per_frame: Annotated[int, typer.Option(help="JSON lines in one WebSocket message.", min=1)] = 1,
    prices: Annotated[
        PriceStyle | None, typer.Option(help="How prices travel; default: as the dialect has it.")
    ] = None,
    token: Annotated[
        list[str] | None, typer.Option(help="An access token to accept, may be repeated; default: any.")
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help='Faults by the clock: a JSON list like [{"at": 5, "fault": "drop"}].')
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; default: at Ctrl-C.", min=0)] = None,
) -> None:
    """Run the Aries simulator alone."""
    simulator = Simulator(
        dialect=dialect,
        host=host,
        port=port,
        symbols=[symbol.strip() for symbol in symbols.split(",") if symbol.strip()] or None,
        seed=seed,
        rate=rate,
        lines_per_frame=lines_per_frame,
        prices=prices,
        tokens=token or (),
        script=read_script(script) if script else (),
        watch=_print_happening,
    )
    asyncio.run(_serve(simulator, seconds, _dialects(dialect)))


async def _serve(simulator: Simulator, seconds: float | None, dialects: list[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await simulator.__aenter__()
    except OSError as error:
        problem = f"--host, --port: cannot listen there ({error}). Choose another port, or 0 for a free one."
        raise SettingsError((problem,)) from error
    try:
        _print_welcome(simulator, dialects)
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
    finally:
        await simulator.__aexit__(None, None, None)
    _print_summary(simulator)


def _dialects(chosen: DialectName) -> list[str]:
    return list(PATHS) if chosen == "auto" else [chosen]


def _print_welcome(simulator: Simulator, dialects: list[str]) -> None:
    typer.echo("The Aries simulator listens at")
    for dialect in dialects:
        typer.echo(f"  {simulator.url_for(dialect):<50} {dialect} dialect")
    typer.echo("To connect the bridge:")
    typer.echo(f"  export ARIES_WS_URL={simulator.url}")
    typer.echo("  export ARIES_ACCESS_TOKEN=anything ARIES_SYMBOLS=AAPL,MSFT,SPX")
    typer.echo("  export KAFKA_BOOTSTRAP_SERVERS=localhost:9092")
    typer.echo("  aries-bridge run")
    typer.echo("Ctrl-C ends it.")


def _print_happening(happening: Happening) -> None:
    typer.echo(f"{time.strftime('%H:%M:%S')} {happening}")


def _print_summary(simulator: Simulator) -> None:
    sent, skipped = simulator.sent, simulator.skipped
    typer.echo(f"Sent {sent.lines:,} lines in {sent.frames:,} frames; {skipped.lines:,} lines were skipped.")
    for word, count in sorted(sent.words.items()):
        typer.echo(f"  {word:<14}{count:>12,}")
