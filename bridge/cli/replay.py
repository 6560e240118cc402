"""``aries-bridge replay``: serve captured frames as Aries sent them."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer resolves it to know the type of the argument
from typing import Annotated

import typer

from bridge.capture.files import all_entries, common_dialect
from bridge.cli.terminal import note, run_until_signal
from bridge.errors import SettingsError
from bridge.simulator.replay import Replay

_MAX = "max"


def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Captures, the oldest first.")],
    *,
    speed: Annotated[
        str,
        typer.Option(
            metavar="1|10|max",
            help="How many times as fast as they were received frames are sent; max = as fast as they are read.",
        ),
    ] = "1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8765,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve captured frames, byte for byte, to a bridge that is pointed here.

    The bridge publishes the same records again, but for ingest_time_us and
    session_id. It needs the same subscriptions, and any token. For each captured
    connection the bridge connects once; when all is sent, the command ends.

    Exit codes: 0 all was sent, or Ctrl-C; 1 a file is no capture, or damaged;
    2 wrong options.
    """
    server = Replay(
        all_entries(files), common_dialect(files), host=host, port=port, speed=_factor(speed), on_event=typer.echo
    )
    asyncio.run(_serve(server))


async def _serve(server: Replay) -> None:
    try:
        await server.__aenter__()
    except OSError as error:
        problem = f"--host, --port: cannot listen there ({error}). Choose another port, or 0 for a free one."
        raise SettingsError((problem,)) from error
    try:
        if not await run_until_signal(_until_ended(server)):
            note("interrupted.")
    finally:
        await server.__aexit__(None, None, None)
    connections = f"{server.connections:,} connection{'' if server.connections == 1 else 's'}"
    typer.echo(f"Sent {server.frames:,} frames in {connections}.")


async def _until_ended(server: Replay) -> None:
    typer.echo(f"The capture is served at {server.url}")
    typer.echo("To connect the bridge, with the subscriptions that were captured:")
    typer.echo(f"  export ARIES_WS_URL={server.url} ARIES_ACCESS_TOKEN=anything")
    typer.echo("  aries-bridge run")
    await server.ended()


def _factor(speed: str) -> float | None:
    """Return how many times as fast to send, None for as fast as possible; raise typer.BadParameter."""
    if speed == _MAX:
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise typer.BadParameter(f"--speed {speed!r} is neither a number above 0 nor {_MAX}")
    return factor
