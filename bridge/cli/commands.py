"""All commands; slow to import, as it imports what each of them needs."""

from __future__ import annotations

from typing import Annotated

import typer

import bridge
from bridge.cli.check import check
from bridge.cli.dev import dev
from bridge.cli.explain import explain
from bridge.cli.group import group
from bridge.cli.redrive import redrive
from bridge.cli.replay import replay
from bridge.cli.schemas import schemas_app
from bridge.cli.settings import settings_command
from bridge.cli.simulate import simulate
from bridge.cli.subscriptions import subscriptions
from bridge.cli.tail import tail
from bridge.cli.topics import topics
from bridge.cli.verify import verify

app = typer.Typer(
    name="aries-bridge",
    help="Bridge the Aries market-data WebSocket to Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - the signature of a typer callback
    if wanted:
        print(f"aries-bridge {bridge.__version__}")  # noqa: T201 - the output of the command
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
    from bridge.cli import run as service  # noqa: PLC0415 - the other commands start faster without it

    raise typer.Exit(service.run())


app.command()(dev)
app.command()(simulate)
app.command()(replay)
app.command()(explain)
app.command()(tail)
app.command("settings")(settings_command)
app.command()(subscriptions)
app.command()(check)
app.command()(topics)
app.command()(group)
app.command()(verify)
app.command()(redrive)
app.add_typer(schemas_app, name="schemas")
