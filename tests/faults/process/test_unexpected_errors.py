"""A defect of a library or of the bridge: reported as JSON with all causes and without secrets, within bounded time."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from bridge.simulator.server import Simulator
from tests.support.process import process
from tests.support.service import environment

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.process import Process

SECRET = "s3cret/token\"with'odd\\characters"
#: What each sabotage begins with: an error with a cause, members, and the secret in all texts.
FAIL = f"""
import asyncio, sys, threading
SECRET = {SECRET!r}
def fail(*_arguments, **_options):
    try:
        raise KeyError("the cause " + SECRET)
    except KeyError as error:
        members = [TypeError("one " + SECRET), ExceptionGroup("more", [ValueError("two " + SECRET)])]
        raise ExceptionGroup("all " + SECRET, members) from error
"""
CAUSES = ["TypeError: one ***", "ValueError: two ***"]
CLIENT_FAILS = "from websockets.client import ClientProtocol\nClientProtocol.connect = fail\n"
PUBLISHER_FAILS_AT_START = "from aiokafka.cluster import ClusterMetadata\nClusterMetadata.partitions_for_topic = fail\n"
PUBLISHER_FAILS_LATER = """
from aiokafka.cluster import ClusterMetadata
leader = ClusterMetadata.leader_for_partition
def leader_for_partition(self, partition):
    if sys._getframe(1).f_code.co_filename.endswith("bridge/kafka/aiokafka_internals.py"):
        fail()
    return leader(self, partition)
ClusterMetadata.leader_for_partition = leader_for_partition
"""
HTTP_FAILS = "import aiohttp.web\naiohttp.web.AppRunner.setup = fail\n"
LOOP_FAILS = "from bridge.network import event_loop\nevent_loop.EventLoop = fail\n"
A_THREAD_HANGS = "threading.Thread(target=threading.Event().wait).start()\n"
MESSAGES_FAIL = """
from websockets.client import ClientProtocol
connect = ClientProtocol.connect
class Unraisable:
    def __del__(self):
        fail()
def sabotaged(self):
    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    asyncio.ensure_future(asyncio.sleep(0)).add_done_callback(fail)
    loop.run_in_executor(None, Unraisable)
    threading.Thread(target=fail, name="a thread").start()
    return connect(self)
ClientProtocol.connect = sabotaged
"""


def only_json_without_secrets(run: Process) -> None:
    """Assert that every line is a JSON object, and that no part of the secret is in any."""
    assert [line for line in run.text if not line.startswith("{")] == []
    assert "s3cret" not in "".join(run.text)


@pytest.mark.parametrize(
    "sabotage",
    [CLIENT_FAILS, PUBLISHER_FAILS_AT_START, PUBLISHER_FAILS_LATER, HTTP_FAILS, LOOP_FAILS],
    ids=["client", "publisher at start", "publisher later", "http server", "event loop"],
)
async def test_an_unexpected_error_ends_with_1_and_one_line_with_all_causes(
    sabotage: str, broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Members of groups and causes are all named, redacted; accounts are still logged; a hanging thread is left."""
    async with Simulator(tokens=[SECRET], rate=100) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_ACCESS_TOKEN=SECRET)
        async with process(environ, "run", sabotage=FAIL + A_THREAD_HANGS + sabotage) as run:
            assert await run.ended() == 1
    [line] = run.all("fatal error")
    assert line["level"] == "critical"
    assert line["exit_code"] == 1
    assert set(CAUSES) <= set(line["causes"])
    assert "KeyError" in str(line["causes"])
    assert line["exception"]
    assert len(run.all("stopped")) == (0 if sabotage in (HTTP_FAILS, LOOP_FAILS) else 1)
    only_json_without_secrets(run)


@pytest.mark.parametrize("where", ["TOKEN", "TOKEN_FILE"])
async def test_an_error_before_there_are_logs_shows_no_secret_either(where: str, tmp_path: Path) -> None:
    """An unexpected error while settings are loaded is JSON, too, without the secrets of the environment."""
    (tmp_path / "token").write_text(SECRET)
    value = SECRET if where == "TOKEN" else str(tmp_path / "token")
    sabotage = "import pydantic_settings\npydantic_settings.EnvSettingsSource.__call__ = fail\n"
    async with process({f"ARIES_ACCESS_{where}": value}, "run", sabotage=FAIL + sabotage) as run:
        assert await run.ended() == 1
    [line] = run.all("fatal error")
    assert set(CAUSES) <= set(line["causes"])
    only_json_without_secrets(run)


async def test_another_command_shows_no_secret_either() -> None:
    """Its traceback is readable text, and redacted."""
    sabotage = "import pydantic_settings\npydantic_settings.EnvSettingsSource.__call__ = fail\n"
    async with process({"ARIES_ACCESS_TOKEN": SECRET}, "check", sabotage=FAIL + sabotage) as run:
        assert await run.ended() == 1
    output = "".join(run.text) + run.output
    assert "fatal error" in output
    assert "TypeError: one ***" in output
    assert "s3cret" not in output


async def test_errors_beside_the_path_of_records_are_only_logged(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A callback, a thread or a destructor that fails is an error in the log, and the bridge continues and drains."""
    async with Simulator(tokens=[SECRET], rate=100) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_ACCESS_TOKEN=SECRET)
        async with process(environ, "run", sabotage=FAIL + MESSAGES_FAIL) as run:
            await run.logged("unexpected error", 4)
            await run.logged("subscribed")
            run.signal(signal.SIGTERM)
            assert await run.ended() == 0
    lines = run.all("unexpected error")
    assert len(lines) == 4
    for line in lines:
        assert line["level"] == "error"
        assert line["causes"][:2] == CAUSES
    assert any("a thread" in line["problem"] for line in lines)
    only_json_without_secrets(run)


async def test_a_log_call_that_cannot_be_formatted_shows_none_of_its_arguments(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A library that logs with wrong arguments loses that line, which is logged, and no secret is shown."""
    sabotage = "from websockets.client import ClientProtocol\nconnect = ClientProtocol.connect\nimport logging\n"
    sabotage += "def sabotaged(self):\n    logging.getLogger('aiokafka').warning('%d and %s', SECRET)\n"
    sabotage += "    return connect(self)\nClientProtocol.connect = sabotaged\n"
    async with Simulator(tokens=[SECRET]) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_ACCESS_TOKEN=SECRET)
        async with process(environ, "run", sabotage=FAIL + sabotage) as run:
            line = await run.logged("log line cannot be formatted")
            assert (line["of"], line["error"]) == ("aiokafka", "TypeError")
            await run.logged("subscribed")
            run.signal(signal.SIGTERM)
            assert await run.ended() == 0
    only_json_without_secrets(run)
