"""``aries-bridge subscriptions``: print what the bridge would subscribe to, its option chains resolved."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from bridge import settings
from bridge.aries.subscriptions.shards import own_share, shard_of
from bridge.cli.terminal import note
from bridge.errors import BridgeError
from bridge.network import event_loop
from bridge.observability import log_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.chains.resolver import Resolution
    from bridge.aries.subscriptions import Plan
    from bridge.settings import Settings


def subscriptions(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list like that of ARIES_SUBSCRIPTIONS, without chains.")
    ] = False,
    own: Annotated[bool, typer.Option("--own", help="Print only the symbols of this shard (BRIDGE_SHARD).")] = False,
) -> None:
    """Print every symbol to subscribe to, with its type and events; option chains are resolved once.

    Only the vendor's REST endpoints are requested, and only if there are chains:
    no session is opened, and Kafka is not needed. Exits with 1 if a chain cannot
    be resolved. A refresh token may be valid only once: beside a running bridge,
    use an access token. With BRIDGE_SHARD=group each line ends with the shard.
    """
    loaded = settings.load_only(os.environ, "ARIES_", "BRIDGE_")
    if own and loaded.is_grouped:
        raise typer.BadParameter(
            "with BRIDGE_SHARD=group no bridge has a shard of its own: without --own each symbol has its shard, and "
            "`aries-bridge group` shows who owns it",
            param_hint="--own",
        )
    redactor = log_config.configure("WARNING", "console", loaded.secrets)
    plan, _, problems = event_loop.run(_resolved(loaded, redactor.learn))
    if own:
        plan = own_share(plan, [loaded.shard], loaded.bridge_shards)
    typer.echo(
        as_json_text(plan) if as_json else "\n".join(_lines(plan, loaded.bridge_shards if loaded.is_grouped else None))
    )
    for warning in plan.warnings:
        note(f"warning: {redactor.redact(warning)}")
    for underlying, problem in problems.items():
        note(f"the chain of {underlying} is not resolved: {redactor.redact(problem)}")
    if problems:
        raise typer.Exit(BridgeError.exit_code)


async def _resolved(loaded: Settings, learn_secret: Callable[[str], None]) -> Resolution:
    from bridge.aries.chains.resolver import resolve_once  # noqa: PLC0415 - likewise
    from bridge.parts import chain_endpoints, token_source  # noqa: PLC0415 - the other commands start faster without it

    plan = loaded.plan()
    endpoints = chain_endpoints(loaded, token_source(loaded, learn_secret), learn_secret)
    return await resolve_once(plan, endpoints, time.time())


def as_json_text(plan: Plan) -> str:
    """Return a plan as the JSON of ``ARIES_SUBSCRIPTIONS``."""
    entries = [
        {
            "symbol": one.symbol,
            "type": one.type,
            "events": sorted(one.events),
            **({"fields": {event: list(names) for event, names in one.fields.items()}} if one.fields else {}),
        }
        for one in plan.values()
    ]
    return json.dumps(entries, indent=2)


def _lines(plan: Plan, shards: int | None) -> list[str]:
    """Return a line for each symbol, with its shard if the bridges of a group share so many."""
    lines = [f"{one.symbol:<24}{one.type:<8}{','.join(sorted(one.events))}" for one in plan.values()]
    if shards is not None:
        lines = [f"{line}  shard {shard_of(symbol, shards)}" for symbol, line in zip(plan, lines, strict=True)]
    return [*lines, f"{len(plan)} symbols"]
