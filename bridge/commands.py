"""The commands, and how the service is run; slow to import, for all that they need."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Annotated

import structlog
import typer
import uvloop

import bridge
from bridge import logs, settings
from bridge.check.command import check
from bridge.dev.command import dev
from bridge.errors import BridgeError
from bridge.kafka.topics_command import topics
from bridge.schemas_command import schemas_app
from bridge.settings.cautions import warnings
from bridge.settings.command import settings_command
from bridge.simulator.cli import simulate
from bridge.tail import tail
from bridge.verify.command import verify

#: How long threads may take to end when all is done.
LEAVE_SECONDS = 2.0

app = typer.Typer(
    name="aries-bridge",
    help="Bridge the Aries market-data WebSocket to Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - the signature of a typer callback
    if wanted:
        print(f"aries-bridge {bridge.__version__}")  # noqa: T201 - the output that was asked for
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Bridge the Aries market-data WebSocket to Kafka."""


@app.command()
def run() -> None:
    """Run the service; all settings come from the environment."""
    from bridge.app import serve  # noqa: PLC0415 - the other commands start faster without it

    loaded = settings.load()
    redactor = logs.configure(loaded.bridge_log_level, loaded.bridge_log_format, loaded.secrets)
    log = structlog.get_logger("bridge.cli")
    for warning in warnings():
        log.warning("settings", warning=warning)
    log.info("starting", version=bridge.__version__, instance=loaded.bridge_instance)
    code = 0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(loaded, redactor))
        except BridgeError as error:
            log.critical("the bridge ends", problem=str(error), exit_code=error.exit_code)
            code = error.exit_code
        _wait_for_no_thread(code)
    raise typer.Exit(code)


def _wait_for_no_thread(code: int) -> None:
    """End the process soon, though a thread hangs in a look-up of the DNS or in a file: loop and interpreter wait."""
    exiting = threading.Timer(LEAVE_SECONDS, os._exit, (code,))
    exiting.daemon = True
    exiting.start()


app.command()(dev)
app.command()(simulate)
app.command()(tail)
app.command("settings")(settings_command)
app.command()(check)
app.command()(topics)
app.command()(verify)
app.add_typer(schemas_app, name="schemas")
