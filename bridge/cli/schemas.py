"""``aries-bridge schemas``: what the topics hold, and whether a registry knows it."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from bridge import settings
from bridge.errors import BridgeError, SchemaMismatch, SettingsError
from bridge.serialization import schemas
from bridge.serialization.schema_registry import Registry, subject_of
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bridge.serialization.schemas import Schema
    from bridge.settings import Settings

    #: Treat one subject: return a word and details, and whether all is well with it.
    Treatment = Callable[[Registry, str, Schema], Awaitable[tuple[str, str, bool]]]

_OUR_SIDE = ("SCHEMA_REGISTRY_", "KAFKA_TOPIC_")

schemas_app = typer.Typer(
    name="schemas",
    help="List the schemas of the topics, compare them with a schema registry, or register them there. "
    "Only the settings SCHEMA_REGISTRY_* and KAFKA_TOPIC_* are needed.",
    no_args_is_help=True,
)


@schemas_app.command("list")
def list_schemas() -> None:
    """List each topic with its subject, its record and the record's fingerprint (CRC-64-AVRO, as on the wire)."""
    rows = [("topic", "subject", "record", "fingerprint")]
    known = schemas.load()
    for topic, name in _settings().topics.items():
        rows.append((name, subject_of(name), known[topic].name, known[topic].fingerprint.hex()))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@schemas_app.command()
def show(topic: Annotated[str, typer.Argument(help=f"{', '.join(Topic)}, or the topic's name in Kafka.")]) -> None:
    """Print a topic's schema as JSON."""
    schema = schemas.load()[_topic(topic, _settings())]
    typer.echo(json.dumps(json.loads(schema.text), indent=2, ensure_ascii=False))


@schemas_app.command()
def compare() -> None:
    """Tell for each subject whether the registry holds exactly this schema; exit 1 unless it does for all."""
    asyncio.run(_treat_all(_settings(), _compared))


@schemas_app.command()
def register() -> None:
    """Register the schemas that the registry lacks; exit 1 where it does not take one."""
    asyncio.run(_treat_all(_settings(), _registered))


def _settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of topics and registry; what is wrong or missing elsewhere does not matter here."""
    return settings.load_only(os.environ if environ is None else environ, *_OUR_SIDE)


def _topic(asked: str, settings: Settings) -> Topic:
    by_name = {name: topic for topic, name in settings.topics.items()} | {topic.value: topic for topic in Topic}
    if asked not in by_name:
        raise BridgeError(f"{asked!r} is no topic of the bridge. There are: {', '.join(Topic)}.")
    return by_name[asked]


async def _treat_all(settings: Settings, treatment: Treatment) -> None:
    """Print a line for each subject; exit 1 unless all is well.

    Raises SettingsError where no registry is set, RegistryUnreachable and RegistryRefused.
    """
    url = settings.schema_registry_url
    if url is None:
        raise SettingsError(("SCHEMA_REGISTRY_URL is not set: give the registry, for example http://registry:8081.",))
    known = schemas.load()
    subjects = {topic: subject_of(name) for topic, name in settings.topics.items()}
    width = max(map(len, subjects.values()))
    all_well = True
    async with Registry.of(settings, url) as registry:
        for topic, subject in subjects.items():
            word, details, well = await treatment(registry, subject, known[topic])
            typer.echo(f"{word:<11} {subject:<{width}}  {details}")
            all_well = all_well and well
    if not all_well:
        raise typer.Exit(1)


async def _compared(registry: Registry, subject: str, schema: Schema) -> tuple[str, str, bool]:
    try:
        return "same", f"id {await registry.lookup(subject, schema)}", True
    except SchemaMismatch as unfit:
        word = "missing" if "does not exist" in unfit.problem else "different"
        return word, unfit.problem, False


async def _registered(registry: Registry, subject: str, schema: Schema) -> tuple[str, str, bool]:
    word, details, well = await _compared(registry, subject, schema)
    if well:
        return word, details, well
    try:
        return "registered", f"id {await registry.register(subject, schema)}", True
    except SchemaMismatch as unfit:
        return "FAILED", f"{unfit.problem}. {unfit.remedy}", False
