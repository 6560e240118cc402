"""``aries-bridge schemas``, as a person or a pipeline sees it."""

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
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMAS = schemas.load()
NOWHERE = "http://127.0.0.1:1"


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """Run the command in an environment that has nothing else of ours."""
    return CliRunner().invoke(schemas_app, arguments, env=dict(environ or {}))


async def run_beside(registry: FakeRegistry, *arguments: str, **environ: str) -> Result:
    """Run the command against a registry that serves in this thread."""
    return await asyncio.to_thread(run, *arguments, environ={"SCHEMA_REGISTRY_URL": registry.url, **environ})


def rows(result: Result) -> dict[str, tuple[str, str]]:
    """Return the word and the details of each subject."""
    found = {}
    for line in result.stdout.splitlines():
        word, subject, details = line.split(maxsplit=2)
        found[subject] = (word, details)
    return found


def fill(registry: FakeRegistry, *but: Topic) -> None:
    for topic in set(Topic) - set(but):
        registry.add(f"aries.{topic}-value", SCHEMAS[topic].text)


def test_list_names_each_topic_with_its_schema() -> None:
    """Topic, subject, record and fingerprint; no setting is needed, and renamed topics count."""
    head, *lines = run("list", environ={"KAFKA_TOPIC_PREFIX": "mine", "KAFKA_TOPIC_L2": "books"}).stdout.splitlines()
    assert head.split() == ["topic", "subject", "record", "fingerprint"]
    shown = [line.split() for line in lines]
    names = {topic: "books" if topic is Topic.L2 else f"mine.{topic}" for topic in Topic}
    assert [(topic, subject, record) for topic, subject, record, _ in shown] == [
        (name, f"{name}-value", SCHEMAS[topic].name) for topic, name in names.items()
    ]
    quote = to_parsing_canonical_form(json.loads(SCHEMAS[Topic.QUOTES].text))
    assert shown[0][3] == fingerprint(quote, "CRC-64-AVRO")


@pytest.mark.parametrize("name", ["l2", "books"])
def test_show_prints_the_json(name: str) -> None:
    """A topic is known by its short name and by its name in Kafka; what is printed is the schema."""
    result = run("show", name, environ={"KAFKA_TOPIC_L2": "books"})
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(SCHEMAS[Topic.L2].text)


def test_show_of_an_unknown_topic_names_those_there_are() -> None:
    """A wrong name is a clear error."""
    result = run("show", "candles")
    assert isinstance(result.exception, BridgeError)
    assert "'candles'" in str(result.exception)
    assert "timesales" in str(result.exception)


async def test_compare_tells_same_missing_and_different_apart() -> None:
    """Exit 0 only where the registry holds exactly our schema for every topic."""
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
    assert all(not path.endswith("/versions") for _, path in registry.requests)


async def test_register_adds_what_is_missing_and_nothing_else() -> None:
    """A second run finds everything there."""
    registry = FakeRegistry()
    fill(registry, Topic.QUOTES, Topic.DLQ)
    async with registry.serving():
        found = rows(result := await run_beside(registry, "register"))
        assert result.exit_code == 0
        assert {subject for subject, (word, _) in found.items() if word == "registered"} == {
            "aries.quotes-value",
            "aries.dlq-value",
        }
        posted = [path for _, path in registry.requests if path.endswith("/versions")]
        assert len(posted) == 2
        again = rows(await run_beside(registry, "register"))
        assert {word for word, _ in again.values()} == {"same"}


async def test_register_goes_on_behind_a_schema_that_is_not_taken() -> None:
    """One refusal is told with its remedy, the others are registered, and the exit code is 1."""
    registry = FakeRegistry(frozen={"mine.trades-value"})
    async with registry.serving():
        result = await run_beside(registry, "register", KAFKA_TOPIC_PREFIX="mine")
    assert result.exit_code == 1
    found = rows(result)
    assert found["mine.trades-value"][0] == "FAILED"
    assert "not compatible" in found["mine.trades-value"][1]
    assert sorted(word for word, _ in found.values()) == ["FAILED", *["registered"] * (len(Topic) - 1)]


@pytest.mark.parametrize("command", ["compare", "register"])
async def test_a_registry_that_cannot_be_used_ends_the_command(command: str) -> None:
    """No registry, none that answers, and refused credentials are errors of their own; no password is shown."""
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


def test_only_its_own_settings_matter() -> None:
    """What is wrong with Aries or Kafka does not matter here; what is wrong with the topics does."""
    assert run("list", environ={"ARIES_DIALECT": "morse", "KAFKA_LINGER_MS": "x"}).exit_code == 0
    result = run("list", environ={"KAFKA_TOPIC_L2": "a b", "SCHEMA_REGISTRY_USERNAME": "me"})
    assert isinstance(result.exception, SettingsError)
    text = str(result.exception)
    for name in ("KAFKA_TOPIC_L2", "SCHEMA_REGISTRY_URL", "SCHEMA_REGISTRY_PASSWORD"):
        assert name in text
    assert "ARIES" not in text
    assert "KAFKA_BOOTSTRAP_SERVERS" not in text
