"""The subscriptions file, read and watched on a real file system."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from bridge.aries import subscriptions
from bridge.aries.subscriptions.file_watch import MAX_FILE_BYTES, read, watch
from bridge.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from bridge.aries.subscriptions import Plan

EVENTS = ("quotes", "trades")
#: So long that only a notification can cause a new plan.
NEVER_SECONDS = 3600.0


@pytest.mark.parametrize(
    "text",
    [
        '["AAPL","MSFT"]',
        '[{"symbol":"AAPL"},{"symbol":"MSFT"}]',
        "AAPL,MSFT",
        "AAPL\nMSFT\n",
        "# ours\nAAPL, # the first\r\n\r\nMSFT",
        "\ufeffAAPL,MSFT",
    ],
)
def test_json_and_plain_lists_are_read(tmp_path: Path, text: str) -> None:
    """JSON, commas, lines, comments and a byte order mark all make the same plan."""
    path = tmp_path / "subscriptions"
    path.write_text(text, encoding="utf-8")
    assert list(read(path, (), EVENTS)) == ["AAPL", "MSFT"]


def test_the_file_adds_to_the_settings(tmp_path: Path) -> None:
    """The file adds to ``ARIES_SYMBOLS`` and overrides it; ``[]`` adds nothing."""
    path = tmp_path / "subscriptions"
    path.write_text('["TSLA",{"symbol":"AAPL","events":["l2"]}]')
    plan = read(path, ("AAPL",), EVENTS)
    assert {symbol: sorted(one.events) for symbol, one in plan.items()} == {
        "AAPL": ["l2"],
        "TSLA": ["quotes", "trades"],
    }
    path.write_text("[]")
    assert list(read(path, ("AAPL",), EVENTS)) == ["AAPL"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"AAPL\xff", "is not UTF-8 text"),
        (b'[{"symbol":"AAPL"', "ARIES_SUBSCRIPTIONS_FILE is not JSON"),
        (b'[{"symbol":"AAPL","event":[]}]', "ARIES_SUBSCRIPTIONS_FILE, entry 1: unknown key"),
        (b"AAPL,A B", "ARIES_SUBSCRIPTIONS_FILE, entry 2: 'A B' is not a symbol"),
        (b"A" * (MAX_FILE_BYTES + 1), "is larger than"),
    ],
)
def test_an_invalid_file_is_reported(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A problem with the file or its content is reported with the setting's name."""
    path = tmp_path / "subscriptions"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read(path, (), EVENTS)
    assert len(caught.value.problems) == 1
    assert message in caught.value.problems[0]


@asynccontextmanager
async def watching(path: Path, *, poll_seconds: float = NEVER_SECONDS) -> AsyncIterator[AsyncGenerator[Plan]]:
    """Watch a file that is readable now."""
    stop = asyncio.Event()
    current = read(path, (), EVENTS)
    plans = watch(path, (), EVENTS, current=current, stop=stop, poll_seconds=poll_seconds)
    async with aclosing(plans):
        yield plans
        stop.set()


async def eventually(plans: AsyncGenerator[Plan], path: Path, text: str) -> Plan:
    """Return the plan after writing the file, repeatedly, as the watch may start after the first write."""
    waiting = asyncio.ensure_future(anext(plans))
    while not waiting.done():
        replace(path, text)
        await asyncio.wait([waiting], timeout=0.5)
    return waiting.result()


def replace(path: Path, text: str) -> None:
    """Replace the file atomically."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.rename(path)


async def test_a_replaced_file_causes_a_new_plan(tmp_path: Path) -> None:
    """Each new content causes one new plan, without polling."""
    path = tmp_path / "subscriptions"
    path.write_text("AAPL")
    async with watching(path) as plans:
        assert list(await eventually(plans, path, "AAPL,MSFT")) == ["AAPL", "MSFT"]
        assert list(await eventually(plans, path, '["TSLA"]')) == ["TSLA"]


async def test_a_file_written_in_place_causes_a_new_plan(tmp_path: Path) -> None:
    """A write to the existing file is detected, too."""
    path = tmp_path / "subscriptions"
    path.write_text("AAPL")
    async with watching(path) as plans:
        await eventually(plans, path, "MSFT")
        path.write_text("TSLA")
        assert list(await anext(plans)) == ["TSLA"]


def mount(directory: Path, version: str, text: str) -> None:
    """Mount a ConfigMap like Kubernetes, by replacing the symbolic link ``..data``."""
    (directory / version).mkdir()
    (directory / version / "subscriptions").write_text(text)
    (directory / "..data_tmp").symlink_to(version)
    (directory / "..data_tmp").rename(directory / "..data")


async def test_a_changed_config_map_causes_a_new_plan(tmp_path: Path) -> None:
    """The file is a link through ``..data``, which Kubernetes replaces."""
    path = tmp_path / "subscriptions"
    mount(tmp_path, "..2026_1", "AAPL")
    path.symlink_to("..data/subscriptions")
    async with watching(path) as plans:
        waiting = asyncio.ensure_future(anext(plans))
        version = 1
        while not waiting.done():
            version += 1
            mount(tmp_path, f"..2026_{version}", "MSFT")
            await asyncio.wait([waiting], timeout=0.5)
        assert list(waiting.result()) == ["MSFT"]


async def test_a_file_in_another_directory_is_polled(tmp_path: Path) -> None:
    """A change behind a link to another directory causes no notification, but is detected by polling."""
    elsewhere = tmp_path / "elsewhere"
    mounted = tmp_path / "mounted"
    for directory in (elsewhere, mounted):
        directory.mkdir()
    (elsewhere / "subscriptions").write_text("AAPL")
    (mounted / "subscriptions").symlink_to(elsewhere / "subscriptions")
    async with watching(mounted / "subscriptions", poll_seconds=0.05) as plans:
        (elsewhere / "subscriptions").write_text("MSFT")
        assert list(await anext(plans)) == ["MSFT"]


async def test_a_missing_directory_is_polled(tmp_path: Path) -> None:
    """If the directory cannot be watched, the file is polled until it exists."""
    path = tmp_path / "later" / "subscriptions"
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        plans = watch(path, ("AAPL",), EVENTS, current=read_listed("AAPL"), stop=stop, poll_seconds=0.05)
        async with aclosing(plans):
            waiting = asyncio.ensure_future(anext(plans))
            while len(logs) < 2:
                await asyncio.wait([waiting], timeout=0.05)
            path.parent.mkdir()
            replace(path, "MSFT")
            assert list(await waiting) == ["AAPL", "MSFT"]
            stop.set()
    assert [entry["log_level"] for entry in logs[:2]] == ["warning", "warning"]
    assert logs[0]["event"] == "file notifications unavailable, polling"
    assert "cannot be read" in str(logs[1]["problems"])


def test_a_plain_list_keeps_its_rules(tmp_path: Path) -> None:
    """A colon is followed by a type there, and a space is a missing comma; JSON may have both."""
    path = tmp_path / "subscriptions"
    for text, problem in (
        ("AAPL\nX:BTCUSD", "entry 2: unknown type 'BTCUSD'"),
        ("BRK B", "separate symbols by commas"),
    ):
        path.write_text(text)
        with pytest.raises(SettingsError, match=problem):
            read(path, (), EVENTS)
    path.write_text('["X:BTCUSD", "BRK B"]')
    assert list(read(path, (), EVENTS)) == ["X:BTCUSD", "BRK B"]


def read_listed(*symbols: str) -> Plan:
    """Return the plan without a file."""
    return subscriptions.plan(symbols, EVENTS)


async def test_an_invalid_file_keeps_the_plan(tmp_path: Path) -> None:
    """Invalid content is logged once, with its problems; the next valid content is used."""
    path = tmp_path / "subscriptions"
    path.write_text("AAPL")
    with structlog.testing.capture_logs() as logs:
        async with watching(path, poll_seconds=0.05) as plans:
            waiting = asyncio.ensure_future(anext(plans))
            replace(path, '[{"symbol":"A;B"}]')
            while not logs:
                await asyncio.wait([waiting], timeout=0.05)
            replace(path, "AAPL")  # the current plan: no new one
            await asyncio.wait([waiting], timeout=0.2)
            assert not waiting.done()
            replace(path, "MSFT")
            assert list(await waiting) == ["MSFT"]
    (warning,) = logs
    assert warning["log_level"] == "warning"
    assert "entry 1: 'A;B' is not a symbol" in warning["problems"][0]


async def test_stopping_ends_the_watch(tmp_path: Path) -> None:
    """The watch ends when the event is set, with and without notifications."""
    path = tmp_path / "subscriptions"
    path.write_text("AAPL")
    for watched in (path, tmp_path / "none" / "subscriptions"):
        stop = asyncio.Event()
        plans = watch(watched, ("AAPL",), EVENTS, current=read_listed("AAPL"), stop=stop)
        waiting = asyncio.ensure_future(anext(plans, None))
        await asyncio.wait([waiting], timeout=0.1)
        stop.set()
        assert await waiting is None


async def test_cancelling_ends_the_watch(tmp_path: Path) -> None:
    """A cancelled watch leaves no thread that waits for changes."""
    path = tmp_path / "subscriptions"
    path.write_text("AAPL")
    stop = asyncio.Event()
    plans = watch(path, (), EVENTS, current=read(path, (), EVENTS), stop=stop, poll_seconds=NEVER_SECONDS)
    waiting = asyncio.ensure_future(anext(plans))
    await asyncio.wait([waiting], timeout=0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stop.is_set()


def test_entries_and_strings_mix(tmp_path: Path) -> None:
    """A JSON list may have both objects and plain symbols."""
    path = tmp_path / "subscriptions"
    path.write_text(json.dumps(["AAPL:option", {"symbol": "SPX"}]))
    assert [one.type.value for one in read(path, (), EVENTS).values()] == ["option", "index"]
