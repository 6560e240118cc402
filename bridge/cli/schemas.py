"""``aries-bridge schemas``: list the topics' schemas, compare them with a registry, or register them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.errors import BridgeError, SettingsError
from bridge.network import event_loop
from bridge.serialization import schemas
from bridge.serialization.schema_registry import Registry, subject_of
from bridge.serialization.subjects import SubjectStatus, compare_subject, register_subject, subjects
from bridge.settings import load_only
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.serialization.schemas import Schema
    from bridge.serialization.subjects import SubjectResult
    from bridge.settings import Settings

    Action = Callable[[Registry, str, Schema], Awaitable[SubjectResult]]

_PREFIXES = ("SCHEMA_REGISTRY_", "KAFKA_TOPIC_")
_SUCCESS = (SubjectStatus.SAME, SubjectStatus.REGISTERED)

schemas_app = typer.Typer(
    name="schemas",
    help="List the schemas of the topics, compare them with a schema registry, or register them there. "
    "Only the settings SCHEMA_REGISTRY_* and KAFKA_TOPIC_* are needed.",
    no_args_is_help=True,
)


@schemas_app.command("list")
def list_schemas() -> None:
    """List each topic's subject, record name and schema fingerprint (CRC-64-AVRO, as in each record)."""
    rows = [("topic", "subject", "record", "fingerprint")]
    known = schemas.load()
    settings = _settings()
    for topic, name in settings.topics.items():
        subject = subject_of(name, settings.schema_registry_context)
        rows.append((name, subject, known[topic].name, known[topic].fingerprint.hex()))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@schemas_app.command()
def show(
    topic: Annotated[str, typer.Argument(help=f"{', '.join(Topic)}, the topic's name in Kafka, or its subject.")],
) -> None:
    """Print a topic's schema as JSON."""
    settings = _settings()
    context, names = settings.schema_registry_context, settings.topics
    by_name = {subject_of(name, context): known for known, name in names.items()}
    by_name |= {name: known for known, name in names.items()} | {known.value: known for known in Topic}
    if topic not in by_name:
        raise BridgeError(f"{topic!r} is not a topic of the bridge, which has: {', '.join(Topic)}.")
    typer.echo(json.dumps(json.loads(schemas.load()[by_name[topic]].text), indent=2, ensure_ascii=False))


@schemas_app.command()
def compare() -> None:
    """Compare each subject with the bridge's schema; exit 1 unless the registry has that for all."""
    event_loop.run(_for_each_subject(compare_subject))


@schemas_app.command()
def register() -> None:
    """Register the schemas that the registry lacks; exit 1 if it rejects one."""
    event_loop.run(_for_each_subject(register_subject))


def _settings() -> Settings:
    """Return the settings of topics and registry; problems of others do not matter here."""
    return load_only(os.environ, *_PREFIXES)


async def _for_each_subject(action: Action) -> None:
    """Print a line for each subject; exit 1 unless the action succeeds for all.

    Raises SettingsError if no registry is set, RegistryUnreachable and RegistryRefused.
    """
    settings = _settings()
    url = settings.schema_registry_url
    if url is None:
        raise SettingsError(("SCHEMA_REGISTRY_URL is not set: set it, for example to http://registry:8081.",))
    found = dict(subjects(settings.topics, settings.schema_registry_context))
    width = max(map(len, found))
    failed = False
    async with Registry.of(settings, url) as registry:
        for subject, schema in found.items():
            result = await action(registry, subject, schema)
            details = f"{result.details}. {result.remedy}" if result.status is SubjectStatus.FAILED else result.details
            typer.echo(f"{result.status:<11} {subject:<{width}}  {details}")
            failed = failed or result.status not in _SUCCESS
    if failed:
        raise typer.Exit(1)
