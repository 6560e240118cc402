"""``aries-bridge schemas``: list the topics' schemas, compare them with a registry, or register them."""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003 - typer resolves it to know what the argument takes
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
    """List each topic's subject, record name and schema fingerprint.

    The fingerprint (CRC-64-AVRO) is shown as the bytes 3 to 10 of each value have it, little-endian, and as a number.
    """
    rows = [("topic", "subject", "record", "fingerprint", "number")]
    known = schemas.load()
    settings = _settings()
    for topic, name in settings.topics.items():
        schema = known[topic]
        subject = subject_of(name, settings.schema_registry_context)
        rows.append((name, subject, schema.name, schema.fingerprint.hex(), f"0x{schema.fingerprint_number:016x}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@schemas_app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(Topic)}; or the topic's name in Kafka, its subject, the record (Quote), or its file "
            "(quote.avsc)."
        ),
    ],
) -> None:
    """Print a schema as JSON."""
    known = schemas.load()
    topic = _topics_by_name(_settings(), known).get(name)
    if topic is None:
        records = ", ".join(_short(schema) for schema in known.values())
        raise BridgeError(
            f"{name!r} is neither a topic of the bridge nor a record or its file. Topics: {', '.join(Topic)}. "
            f"Records: {records}."
        )
    typer.echo(json.dumps(json.loads(known[topic].text), indent=2, ensure_ascii=False))


@schemas_app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="It is created if it is missing; files in it are replaced.")],
) -> None:
    """Write the files of all schemas, those of earlier releases into `released`."""
    try:
        copies = schemas.export(directory)
    except OSError as error:
        raise BridgeError(f"{error.filename} cannot be written: {error.strerror}.") from error
    typer.echo(f"{len(copies)} schemas written to {directory}.")


@schemas_app.command()
def compare() -> None:
    """Compare each subject with the bridge's schema; exit 1 unless the registry has that for all."""
    event_loop.run(_for_each_subject(compare_subject))


@schemas_app.command()
def register() -> None:
    """Register the schemas that the registry lacks; exit 1 if it rejects one."""
    event_loop.run(_for_each_subject(register_subject))


def _topics_by_name(settings: Settings, known: schemas.Schemas) -> dict[str, Topic]:
    """Return each topic by all that a user may call it; short names of topics go before whatever else is called so."""
    found: dict[str, Topic] = {}
    for topic, schema in known.items():
        found |= dict.fromkeys((schemas.FILES[topic], schema.name, _short(schema)), topic)
    context = settings.schema_registry_context
    found |= {subject_of(name, context): topic for topic, name in settings.topics.items()}
    found |= {name: topic for topic, name in settings.topics.items()}
    return found | {topic.value: topic for topic in Topic}


def _short(schema: Schema) -> str:
    """Return the name of a record without its namespace."""
    return schema.name.rpartition(".")[2]


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
            details = f"{result.details}. {result.hint}" if result.status is SubjectStatus.FAILED else result.details
            typer.echo(f"{result.status:<11} {subject:<{width}}  {details}")
            failed = failed or result.status not in _SUCCESS
    if failed:
        raise typer.Exit(1)
