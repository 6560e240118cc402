"""``aries-bridge schemas`` as a command: its output and exit codes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form
from typer.testing import CliRunner, Result

from bridge.cli.schemas import schemas_app
from bridge.errors import BridgeError, RegistryRefused, RegistryUnreachable, SettingsError
from bridge.serialization import schemas
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMAS = schemas.load()
HEARTBEAT = {"kind": "HEARTBEAT", "instance": "me", "time_us": 5, "counts": {}}
NOWHERE = "http://127.0.0.1:1"


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """Run the command in an environment without other settings of the bridge."""
    return CliRunner().invoke(schemas_app, arguments, env=dict(environ or {}))


async def run_beside(registry: FakeRegistry, *arguments: str, **environ: str) -> Result:
    """Run the command in another thread, against a registry in this one."""
    return await asyncio.to_thread(run, *arguments, environ={"SCHEMA_REGISTRY_URL": registry.url, **environ})


def rows(result: Result) -> dict[str, tuple[str, str]]:
    """Return the status and the details of each subject."""
    found = {}
    for line in result.stdout.splitlines():
        status, subject, details = line.split(maxsplit=2)
        found[subject] = (status, details)
    return found


def fill(registry: FakeRegistry, *but: Topic) -> None:
    for topic in set(Topic) - set(but):
        registry.add(f"aries.{topic}-value", SCHEMAS[topic].text)


def test_list_names_each_topic_with_its_schema() -> None:
    """Each topic has a line with subject, record and fingerprint: the bytes of a value, and the number they are.

    No setting is needed, and renamed topics are respected.
    """
    head, *lines = run("list", environ={"KAFKA_TOPIC_PREFIX": "mine", "KAFKA_TOPIC_L2": "books"}).stdout.splitlines()
    assert head.split() == ["topic", "subject", "record", "fingerprint", "number"]
    shown = [line.split() for line in lines]
    names = {topic: "books" if topic is Topic.L2 else f"mine.{topic}" for topic in Topic}
    assert [(topic, subject, record) for topic, subject, record, *_ in shown] == [
        (name, f"{name}-value", SCHEMAS[topic].name) for topic, name in names.items()
    ]
    quote = to_parsing_canonical_form(json.loads(SCHEMAS[Topic.QUOTES].text))
    assert shown[0][3] == fingerprint(quote, "CRC-64-AVRO")
    value = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS)).encode(Topic.CONTROL, HEARTBEAT)
    assert shown[list(Topic).index(Topic.CONTROL)][3] == value[2:10].hex()
    for *_, little_endian, number in shown:
        assert int(number, 16) == int.from_bytes(bytes.fromhex(little_endian), "little")
        assert len(number) == len("0x") + 16


@pytest.mark.parametrize(
    "name", ["l2", "books", ":.staging:books-value", "Level2", "aries.marketdata.Level2", "level2.avsc"]
)
def test_show_prints_the_json(name: str) -> None:
    """A schema is selected by topic (short name, name in Kafka, subject), by record, or by file."""
    registry = {"SCHEMA_REGISTRY_URL": NOWHERE, "SCHEMA_REGISTRY_CONTEXT": ".staging"}
    result = run("show", name, environ={"KAFKA_TOPIC_L2": "books", **registry})
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(SCHEMAS[Topic.L2].text)


def test_show_of_an_unknown_topic() -> None:
    """The error lists the topics and the records of the bridge."""
    result = run("show", "candles")
    assert isinstance(result.exception, BridgeError)
    assert "'candles'" in str(result.exception)
    assert "timesales" in str(result.exception)
    assert "MarketStatus" in str(result.exception)


def test_a_topic_goes_before_a_record_of_that_name() -> None:
    """Whoever calls the topic of trades Quote is shown the schema of trades."""
    result = run("show", "Quote", environ={"KAFKA_TOPIC_TRADES": "Quote"})
    assert json.loads(result.stdout)["name"] == "Trade"


async def test_compare_distinguishes_same_missing_and_different() -> None:
    """The exit code is 0 only if the registry has exactly the bridge's schema for every topic."""
    registry = FakeRegistry()
    fill(registry, Topic.L2, Topic.DLQ)
    registry.add("aries.l2-value", '{"type":"record","name":"Book","fields":[]}')
    async with registry.serving():
        result = await run_beside(registry, "compare")
        assert result.exit_code == 1
        found = rows(result)
        assert len(found) == len(Topic)
        quotes_id = registry.ids[SCHEMAS[Topic.QUOTES].text]
        assert found["aries.quotes-value"] == ("same", f"id {quotes_id}")
        assert found["aries.l2-value"][0] == "different"
        assert "Level2" in found["aries.l2-value"][1]
        assert found["aries.dlq-value"] == ("missing", "it does not exist")
        fill(registry)
        assert (await run_beside(registry, "compare")).exit_code == 0
    assert not [path for method, path in registry.requests if method == "POST" and path.endswith("/versions")]


async def test_subjects_are_those_of_the_context() -> None:
    """With a context, all commands are about its subjects, also in the list."""
    context = {"SCHEMA_REGISTRY_CONTEXT": ":.staging:"}
    async with FakeRegistry().serving() as registry:
        assert set(rows(await run_beside(registry, "register", **context))) == registry.subjects.keys()
        assert all(subject.startswith(":.staging:aries.") for subject in registry.subjects)
        assert (await run_beside(registry, "compare", **context)).exit_code == 0
        listed = (await run_beside(registry, "list", **context)).stdout.splitlines()[1:]
    assert {line.split()[1] for line in listed} == registry.subjects.keys()


async def test_a_schema_that_is_written_differently_is_the_same() -> None:
    """Another doc or format is no difference."""
    registry = FakeRegistry()
    fill(registry, Topic.QUOTES)
    text = json.dumps(json.loads(SCHEMAS[Topic.QUOTES].text) | {"doc": "by hand"}, indent=1)
    async with registry.serving():
        schema_id = registry.add("aries.quotes-value", text)
        result = await run_beside(registry, "compare")
    assert result.exit_code == 0
    assert rows(result)["aries.quotes-value"] == ("same", f"id {schema_id}")


async def test_register_adds_what_is_missing_and_nothing_else() -> None:
    """A second run registers nothing."""
    registry = FakeRegistry()
    fill(registry, Topic.QUOTES, Topic.DLQ)
    async with registry.serving():
        found = rows(result := await run_beside(registry, "register"))
        assert result.exit_code == 0
        assert {subject for subject, (status, _) in found.items() if status == "registered"} == {
            "aries.quotes-value",
            "aries.dlq-value",
        }
        posted = [path for _, path in registry.requests if path.endswith("/versions")]
        assert len(posted) == 2
        again = rows(await run_beside(registry, "register"))
        assert {status for status, _ in again.values()} == {"same"}


async def test_register_continues_after_a_rejected_schema() -> None:
    """A rejected schema is listed with its hint, the others are registered, and the exit code is 1."""
    registry = FakeRegistry(frozen={"mine.trades-value"})
    async with registry.serving():
        result = await run_beside(registry, "register", KAFKA_TOPIC_PREFIX="mine")
    assert result.exit_code == 1
    found = rows(result)
    assert found["mine.trades-value"][0] == "FAILED"
    assert "not compatible" in found["mine.trades-value"][1]
    assert sorted(status for status, _ in found.values()) == ["FAILED", *["registered"] * (len(Topic) - 1)]


@pytest.mark.parametrize("command", ["compare", "register"])
async def test_an_unusable_registry_ends_the_command(command: str) -> None:
    """An unset or unreachable registry and rejected credentials are distinct errors; no password is shown."""
    unset = await asyncio.to_thread(run, command)
    assert isinstance(unset.exception, SettingsError)
    assert "SCHEMA_REGISTRY_URL" in str(unset.exception)
    gone = await run_beside(FakeRegistry(url=NOWHERE), command)
    assert isinstance(gone.exception, RegistryUnreachable)
    login = {"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": "hunter22"}
    async with FakeRegistry(credentials="me:other").serving() as registry:
        refused = await run_beside(registry, command, **login)
    assert isinstance(refused.exception, RegistryRefused)
    assert "hunter22" not in refused.output + str(refused.exception)


def test_other_settings_are_ignored() -> None:
    """Invalid settings of Aries or Kafka do not matter; those of topics and registry do."""
    assert run("list", environ={"ARIES_DIALECT": "morse", "KAFKA_LINGER_MS": "x"}).exit_code == 0
    result = run("list", environ={"KAFKA_TOPIC_L2": "a b", "SCHEMA_REGISTRY_USERNAME": "me"})
    assert isinstance(result.exception, SettingsError)
    text = str(result.exception)
    for name in ("KAFKA_TOPIC_L2", "SCHEMA_REGISTRY_URL", "SCHEMA_REGISTRY_PASSWORD"):
        assert name in text
    assert "ARIES" not in text
    assert "KAFKA_BOOTSTRAP_SERVERS" not in text


def test_export_writes_all_files(tmp_path: Path) -> None:
    """Each schema is a file of its own in the directory, which is created; the content is that of the package."""
    directory = tmp_path / "new" / "avro"
    result = run("export", str(directory))

    assert result.exit_code == 0
    assert result.output.endswith(f" schemas written to {directory}.\n")
    written = {path.name: schemas.parse_schema(path.read_text("utf-8")) for path in directory.glob("*.avsc")}
    assert written == {schemas.FILES[topic]: schema for topic, schema in SCHEMAS.items()}


def test_export_to_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A file in the way is one sentence."""
    (tmp_path / "avro").write_text("")
    result = run("export", str(tmp_path / "avro"))

    assert isinstance(result.exception, BridgeError)
    assert str(result.exception) == f"{tmp_path / 'avro'} cannot be written: File exists."
