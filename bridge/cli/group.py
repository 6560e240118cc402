"""``aries-bridge group``: the members of a group, its shards and their owners, as Kafka shows them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bridge.cli.options import BootstrapServers  # noqa: TC001 - typer reads annotations at run time
from bridge.cli.terminal import note
from bridge.cli.times import utc_text
from bridge.clock import wall_us
from bridge.group.description import ShardDescription, ShardState
from bridge.group.inspection import inspect_group
from bridge.network import event_loop
from bridge.settings.kafka_side import kafka_settings

if TYPE_CHECKING:
    from bridge.group.description import GroupReport, MemberDescription

_WIDTH = 140


def group(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Show the members of a group, its shards, and who owns them.

    Asks Kafka alone, with the KAFKA_* settings and BRIDGE_GROUP (default: the
    topics' prefix), and joins nothing: the bridges of BRIDGE_SHARD=group notice
    nothing of it. Members are from the group's coordinator, owners from the marks
    in the topic of the shards. Needs Describe on the group, and Read on the topic.
    Warnings are on standard error. Exit code: 0 each shard has an owner, 1 one has
    none, 2 wrong settings.
    """
    settings = kafka_settings(bootstrap_servers, also=("BRIDGE_GROUP", "BRIDGE_SHARDS"))
    report = event_loop.run(inspect_group(settings))
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        _show(report)
        for warning in report.warnings():
            note(f"warning: {warning}")
    if report.ownerless:
        raise typer.Exit(1)


def _show(report: GroupReport) -> None:
    now_us = wall_us()
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    members, shards = (Table(box=None, pad_edge=False, header_style="bold") for _ in range(2))
    for column in ("member", "host", "version", "shards", "plan", "Aries", "assigned"):
        members.add_column(column, no_wrap=True)
    for member in report.members:
        members.add_row(*_member_row(member))
    for column in ("shard", "state", "owner", "epoch", "since", "last renewed", "session"):
        shards.add_column(column, no_wrap=True)
    for shard in report.shards:
        shards.add_row(*_shard_row(shard, now_us))
    with console.capture() as text:  # rich handles a closed pipe in its own way
        counts = f"{_counted(len(report.members), 'member')}, {_counted(report.shard_count, 'shard')}"
        console.print(f"group {report.id}: {report.state}, {counts}")
        console.print(members)
        console.print()
        console.print(f"topic {report.topic}: {_counted(report.partitions, 'partition')}")
        console.print(shards)
    typer.echo("\n".join(line.rstrip() for line in text.get().rstrip("\n").splitlines()))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _member_row(member: MemberDescription) -> tuple[str, ...]:
    assigned = ",".join(map(str, member.assigned)) or "standby"
    if member.instance is None:
        return (member.name, member.host, "?", "?", "?", "?", assigned)
    reach = "ok" if member.fit else "unreachable"  # as far as it knows: a standby has not tried
    return (
        *(member.name, member.host, member.version or "?", str(member.shards), member.fingerprint or "?", reach),
        assigned,
    )


def _shard_row(shard: ShardDescription, now_us: int) -> tuple[str, ...]:
    owner = shard.owner or "-"
    if shard.claimant:
        owner += f", claimed by {shard.claimant}"
    renewed = f"{max(0, now_us - shard.renewed_us) / 1e6:.1f} s ago" if shard.renewed_us is not None else "-"
    return (
        *(str(shard.shard), shard.state.value, owner, "-" if shard.epoch is None else str(shard.epoch)),
        *(_since(shard), renewed),
        "-" if shard.session_id is None else str(shard.session_id),
    )


def _since(shard: ShardDescription) -> str:
    if shard.state is not ShardState.OWNED:
        return "-"
    return "earlier" if shard.since_us is None else utc_text(shard.since_us)
