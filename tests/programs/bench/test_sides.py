"""The command lines of the bridges that are compared, and the feed over TLS."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import trustme
from websockets.asyncio.client import connect

from tests.programs.bench.children import Child, Cores
from tests.programs.bench.frames import QUOTES, Recipe, build
from tests.programs.bench.interpreter import python as interpreter
from tests.programs.bench.sides import BASELINE, BRIDGE, beside, python

if TYPE_CHECKING:
    import pytest


def test_another_bridge_is_named_by_its_command_line() -> None:
    """Its latencies go to the file where one is wanted, and the word for it is left out elsewhere."""
    side = beside("env STYLE='a b' ./bridge {latencies}")
    assert side.name == "env STYLE=a b ./bridge"
    assert side.arguments() == ["env", "STYLE=a b", "./bridge"]
    assert side.arguments(Path("file")) == ["env", "STYLE=a b", "./bridge", "file"]


def test_a_bridge_without_latencies_is_started_as_it_is() -> None:
    """Only its CPU time is known at a given rate."""
    assert beside("./bridge --fast").arguments(Path("file")) == ["./bridge", "--fast"]
    assert BRIDGE.arguments(Path("file")) != BRIDGE.arguments() == list(python("bridge", "run"))
    assert BASELINE.arguments(Path("file")) == [*BASELINE.arguments(), "file"]


async def test_the_feed_is_served_over_tls(tmp_path: Path) -> None:
    """A feeder with a certificate answers requests and sends every frame encrypted."""
    authority, recipe = trustme.CA(), Recipe(QUOTES, 500)
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    saved = build(recipe).save(tmp_path / "feed")
    serving = python("tests.programs.bench.feeder", str(saved), "1", str(tmp_path / "server.pem"))
    with Child(serving, {}, Cores.of_machine().others, tmp_path / "feeder.log") as feeder:
        url = f"wss://localhost:{feeder.hear()['port']}/v1/market/ws"
        async with connect(url, ssl=context, proxy=None) as socket:
            await socket.send(json.dumps({"type": "subscribe", "id": "sub", "payload": []}))
            assert json.loads(await socket.recv())["id"] == "sub"
            feeder.hear()
            feeder.tell("go")
            lines = [json.loads(await socket.recv()) for _ in range(recipe.lines)]
    assert {line["payload"]["action"] for line in lines} == {"update"}


def test_figures_say_how_the_interpreter_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build without profile-guided optimization is a tenth slower: a figure without that word says little."""
    configured = {"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'", "prefix": "/usr/local"}
    monkeypatch.setattr("sysconfig.get_config_var", configured.get)
    assert interpreter().endswith("(PGO and LTO)")
    configured["CONFIG_ARGS"] = "'--enable-shared'"
    assert interpreter().endswith("(neither PGO nor LTO)")
    configured["prefix"] = "/usr"
    assert interpreter().endswith("(the distribution's own build)")
