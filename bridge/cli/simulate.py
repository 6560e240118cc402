"""``aries-bridge simulate``: run the simulator alone, for any client to connect to."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path  # noqa: TC003 - typer resolves it to know the type of the option
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.errors import SettingsError
from bridge.simulator.fault_script import read_script
from bridge.simulator.server import Simulator
from bridge.simulator.server_dialect import PATHS, DialectChoice, PriceStyle

if TYPE_CHECKING:
    from bridge.simulator.shared_state import ServerEvent


def simulate(
    *,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8765,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    dialect: Annotated[DialectChoice, typer.Option(help="Dialect of the server; auto goes by the path.")] = "auto",
    rate: Annotated[float, typer.Option(help="Market events per second over all symbols.", min=0)] = 100,
    symbols: Annotated[str, typer.Option(help="The only symbols that exist, comma-separated; default: all.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed generates the same market.")] = 0,
    lines_per_frame: Annotated[int, typer.Option(help="JSON lines in one WebSocket message.", min=1)] = 1,
    prices: Annotated[
        PriceStyle | None, typer.Option(help="JSON type of prices; default: that of the dialect.")
    ] = None,
    level2: Annotated[
        Literal["full", "changes"], typer.Option(help="Rows of a level-2 message: all, or those that changed.")
    ] = "full",
    token: Annotated[
        list[str] | None, typer.Option(help="An access token to accept, may be repeated; default: any.")
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help='Timed faults: a JSON file like [{"at": 5, "fault": "drop"}].')
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after this time; default: at Ctrl-C.", min=0)] = None,
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
        level2_changes=level2 == "changes",
        tokens=token or (),
        script=read_script(script) if script else (),
        on_event=_print_event,
    )
    asyncio.run(_serve(simulator, seconds, list(PATHS) if dialect == "auto" else [dialect]))


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
        _print_instructions(simulator, dialects)
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
    finally:
        await simulator.__aexit__(None, None, None)
    _print_summary(simulator)


def _print_instructions(simulator: Simulator, dialects: list[str]) -> None:
    typer.echo("The Aries simulator listens at")
    for dialect in dialects:
        typer.echo(f"  {simulator.url_for(dialect):<50} {dialect} dialect")
    typer.echo("To connect the bridge:")
    typer.echo(f"  export ARIES_WS_URL={simulator.url}")
    typer.echo("  export ARIES_ACCESS_TOKEN=anything ARIES_SYMBOLS=AAPL,MSFT,SPX")
    typer.echo("  export KAFKA_BOOTSTRAP_SERVERS=localhost:9092")
    typer.echo("  aries-bridge run")
    typer.echo("Press Ctrl-C to stop.")


def _print_event(event: ServerEvent) -> None:
    typer.echo(f"{time.strftime('%H:%M:%S')} {event}")


def _print_summary(simulator: Simulator) -> None:
    sent, skipped = simulator.sent, simulator.skipped
    typer.echo(f"Sent {sent.lines:,} lines in {sent.frames:,} frames, skipped {skipped.lines:,} lines.")
    for line_type, count in sorted(sent.lines_by_type.items()):
        typer.echo(f"  {line_type:<14}{count:>12,}")
