"""The status page in a real browser: its values are those of ``/status``, live, accessible, within its own policy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from bridge import settings
from bridge.app import Service
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import SHARDS_TOPIC, Topic
from tests.observability.chromium import TAB
from tests.observability.http_client import client
from tests.support.service import environment, eventually, running, serving

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.observability.chromium import Browser

pytestmark = [pytest.mark.usefixtures("topics"), pytest.mark.timeout(120)]

READY = "document.querySelector('#state').textContent === 'Ready'"
TABLES = ("topics", "accounts", "gaps", "losses")
#: WCAG 2.2, 1.4.3: the contrast of each text with what is behind it, by the formula of its glossary.
LOW_CONTRAST = """
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
  const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const texts = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  if (!texts.length || !element.checkVisibility()) continue;
  const [one, other] = [light(getComputedStyle(element).color), light(ground(element))].sort();
  if ((other + 0.05) / (one + 0.05) < 4.5) found.push(element.outerHTML.slice(0, 80));
}
return found;
"""
MOVING = """
const moves = (element) => getComputedStyle(element).transitionDuration !== "0s";
return [...document.querySelectorAll("*")].filter(moves).map((element) => element.tagName);
"""
ROWS = """
return [...document.querySelectorAll(arguments[0] + " tbody tr")].map(
  (row) => [row.cells[0].textContent, [...row.cells].slice(1).map((cell) => cell.textContent)]);
"""
TERMS = """
return [...document.querySelectorAll("dt")].map(
  (term) => [term.closest("dl").id + " " + term.textContent, term.nextElementSibling.textContent]);
"""


def grouped(number: int) -> str:
    return f"{number:,}"


async def test_it_has_the_values_of_status(broker: EmbeddedBroker, topic_prefix: str, window: Browser) -> None:
    """Every number of an idle bridge is on the page as in the JSON, without console errors."""
    async with Simulator(dialect="envelope", lines_per_frame=5) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.emit(3000)
            await simulator.inject(faults.Garbage())
            await simulator.inject(faults.Drop())
            await eventually(lambda: bridge.client.reconnects, "the disconnect")
            await http.becomes(200)
            await eventually(lambda: bridge.buffer.empty, "all acknowledged")
            assert service.http.url is not None
            await window.open(service.http.url)
            await window.holds(READY)
            status: dict[str, Any] = (await http.get("/status")).document
            topics, accounts, gaps, losses = [dict(await window.run(ROWS, f"#{table}")) for table in TABLES]
            terms, about = dict(await window.run(TERMS)), await window.text("#about")
            assert await window.errors() == []
    assert list(topics) == [topic["name"] for topic in status["topics"]]
    for topic in status["topics"]:
        shown = topics[topic["name"]]
        if topic["topic"] != Topic.CONTROL:  # a heartbeat may come between the two
            assert shown[2] == grouped(topic["acknowledged"])
        assert shown[6:] == [grouped(topic["conflated"]), grouped(topic["dropped"] + topic["undelivered"])]
    counts = status["accounts"]
    assert accounts["Lines read"][0] == grouped(counts["lines_received"])
    assert accounts["= total"][0] == grouped(counts["lines_received"] + counts["split"])
    for name in ("published", "conflated", "filtered", "dead_lettered", "dropped", "undelivered", "pending"):
        assert accounts[name.capitalize().replace("_", "-")][0] == grouped(counts[name])
    assert accounts["Dead-lettered"][1] == "not_json 1"
    assert [*gaps] == [gap["from"][:19].replace("T", " ") for gap in status["gaps"]]
    assert [row[1:] for row in losses.values()] == [[loss["cause"], loss["reason"]] for loss in status["losses"]]
    assert terms["aries State"] == "streaming"
    assert terms["aries Endpoint"] == status["aries"]["url"]
    assert terms["aries Disconnects"] == "network 1"
    assert terms["session Session"] == str(status["aries"]["session"]["id"])
    assert terms["session Symbols"] == "2 of 2"
    assert terms["session Token expires"] == "unknown"
    assert terms["kafka State"] == "acknowledging"
    assert terms["kafka Brokers"] == ", ".join(status["kafka"]["servers"])
    assert terms["buffer In use"] == "0 B of 256.0 MiB (0.0 %)"
    assert f"version {status['version']} · shard 0" in about


async def test_it_lists_stale_symbols(broker: EmbeddedBroker, topic_prefix: str, window: Browser) -> None:
    """A frozen symbol is listed with its topic, and not those that have data."""
    async with Simulator(rate=200) as simulator:
        await simulator.inject(faults.FreezeSymbol(symbol="MSFT"))
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_STALE_SYMBOL_SECONDS="quotes=1")
        async with serving(environ) as service:
            await eventually(lambda: service.bridge.symbol_ages.oldest_stale, "the stale symbol")
            assert service.http.url is not None
            await window.open(service.http.url)
            await window.holds("document.querySelector('#symbols tbody').rows.length === 1")
            [(symbol, (topic, _, last_data))] = await window.run(ROWS, "#symbols")
            assert (symbol, topic, last_data) == ("MSFT", "quotes", "never")
            assert "1 without data" in await window.text("#symbols-caption")
            assert await window.errors() == []


async def test_it_shows_the_group(broker: EmbeddedBroker, topic_prefix: str, window: Browser) -> None:
    """In a group there are the shards with their owners, the members and the hand-overs; elsewhere they are hidden."""
    broker.create_topics([f"{topic_prefix}.{SHARDS_TOPIC}"])
    async with Simulator(rate=200) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with serving({**environ, "BRIDGE_SHARD": "group", "BRIDGE_SHARDS": "2"}) as service:
            await eventually(lambda: service.bridge.group and len(service.bridge.group.shards) == 2, "both are owned")
            assert service.http.url is not None
            await window.open(service.http.url)
            await window.holds(READY)
            shards, members, handovers = [
                await window.run(ROWS, f"#{table}") for table in ("shards", "members", "handovers")
            ]
            terms = dict(await window.run(TERMS))
            assert f"owner in the group {topic_prefix}" in await window.text("#about")
            assert await window.run(LOW_CONTRAST) == []
            assert await window.errors() == []
        async with serving(environ) as service:
            await eventually(lambda: service.http.url, "HTTP")
            assert service.http.url is not None
            await window.open(service.http.url)
            await window.holds(READY)
            assert await window.run("return document.querySelector('#group-section').hidden")
    assert [(shard, *cells[:2]) for shard, cells in shards] == [
        ("0", "owned", "test-bridge (this process)"),
        ("1", "owned", "test-bridge (this process)"),
    ]
    assert [(name, cells[0]) for name, cells in members] == [("test-bridge", "0, 1")]
    assert sorted(cells[:3] for _, cells in handovers) == [["0", "claimed", "first"], ["1", "claimed", "first"]]
    assert terms["group Role"] == "owner of 0, 1 of 2 shards"


async def test_it_is_live_until_it_is_paused(broker: EmbeddedBroker, topic_prefix: str, window: Browser) -> None:
    """New data appears without a reload, a pause stops updates, and charts have a text alternative."""
    total = "document.querySelector('[data-topic=quotes]').cells[3].textContent"
    async with Simulator(rate=200) as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            bridge = service.bridge
            await eventually(lambda: service.http.url, "HTTP")
            assert service.http.url is not None
            await window.open(service.http.url)
            await window.holds(READY)
            before = await window.run(f"return {total}")
            await window.holds(f"{total} !== {before!r}")
            await window.holds("document.querySelector('polyline').getAttribute('points').includes(' ')")
            label = await window.run("return document.querySelector('[data-topic=quotes] svg').ariaLabel")
            assert label.startswith(f"{topic_prefix}.quotes in the last 2 minutes: now ")
            await window.run("document.querySelector('#pause').click()")
            assert await window.text("#pause") == "Resume updates"
            await window.run(
                "window.asked = 0; const get = fetch; window.fetch = (...all) => { asked++; return get(...all); }"
            )
            published = bridge.accounts.published[Topic.QUOTES]
            await eventually(lambda: bridge.accounts.published[Topic.QUOTES] > published + 200, "two seconds of data")
            assert await window.run("return asked") == 0
            await window.run("document.querySelector('#pause').click()")
            await window.holds("asked > 0")
            assert await window.errors() == []


async def test_a_bridge_that_does_not_respond_is_obvious(
    broker: EmbeddedBroker, topic_prefix: str, window: Browser, tmp_path: Path
) -> None:
    """Failed checks are named; no response is an alert with the time of the last one, until the next."""
    stop = asyncio.Event()
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        service = Service(settings.load(environ))
        task = asyncio.create_task(service.run(stop))
        await eventually(lambda: service.http.url, "HTTP")
        url = service.http.url
        assert url is not None
        await window.open(url)
        await window.holds(READY)
        await simulator.inject(faults.Http(status=503))
        await simulator.inject(faults.Drop())
        await window.holds("document.querySelector('#state').textContent === 'Not ready'")
        assert "authenticated: " in await window.text("#problems")
        assert await window.run(LOW_CONTRAST) == []
        stop.set()
        await task
        await window.holds("!document.querySelector('#no-response').hidden")
        assert (await window.text("#no-response")).startswith("No response from the bridge; below is its state at 20")
        assert await window.run("return document.title") == "No response · aries-bridge test-bridge"
        assert await window.run(LOW_CONTRAST) == []
        environ["BRIDGE_HTTP_PORT"] = str(urlsplit(url).port)
        await simulator.inject(faults.Heal())
        async with running(environ):
            await window.holds(READY)
            assert await window.run("return document.querySelector('#no-response').hidden")
        assert await window.errors() == []


async def test_no_text_of_the_feed_becomes_markup(broker: EmbeddedBroker, topic_prefix: str, window: Browser) -> None:
    """A field name and a close reason that are HTML are shown as text."""
    evil = "<img src=x onerror=alert(1)>"
    async with Simulator(dialect="envelope") as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            bridge = service.bridge
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.quote("AAPL", **{evil: 1, "bidPrice": "2"})
            await eventually(lambda: bridge.ingest.unknown_fields, "the strange field")
            await simulator.inject(faults.Close(code=4000, reason=evil))
            await eventually(lambda: bridge.client.reconnects, "the disconnect")
            assert service.http.url is not None
            await window.open(service.http.url)
            await window.holds(READY)
            assert evil in await window.text("#accounts")
            assert evil in await window.text("#losses")
            assert await window.run("return document.images.length") == 0
            assert await window.errors() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(360, 740), (1280, 900)])
async def test_it_can_be_read_on_any_screen(
    scheme: str, size: tuple[int, int], broker: EmbeddedBroker, topic_prefix: str, window: Browser
) -> None:
    """Texts have enough contrast in both colour schemes (WCAG AA), and no screen size needs horizontal scrolling."""
    async with Simulator(rate=100) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await http.becomes(200)
            await simulator.inject(faults.Drop())
            await eventually(lambda: bridge.client.reconnects, "the disconnect")
            assert service.http.url is not None
            await window.resize(*size)
            await window.prefers(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            await window.open(service.http.url)
            await window.holds(READY)
            assert await window.run("return document.documentElement.scrollWidth <= innerWidth")
            ground = await window.run("return getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(17, 20, 26)") == (scheme == "dark")
            assert await window.run(LOW_CONTRAST) == []
            assert await window.run(MOVING) == []
            assert await window.errors() == []


async def test_it_can_be_used_with_keyboard_and_screen_reader(
    broker: EmbeddedBroker, topic_prefix: str, window: Browser
) -> None:
    """Everything is reached by keyboard, in order and visibly; landmarks, tables and states have roles and names."""
    focused = "return document.activeElement.textContent.trim()"
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            await eventually(lambda: service.http.url, "HTTP")
            assert service.http.url is not None
            await window.open(service.http.url)
            await window.holds(READY)
            order = []
            for _ in range(6):
                await window.press(TAB)
                order.append(await window.run(focused))
                assert await window.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
            assert order == [
                "Skip to the state of the bridge",
                "Pause updates",
                "status",
                "metrics",
                "readyz",
                "livez",
            ]
            tree = (await window.devtools("Accessibility.getFullAXTree"))["nodes"]
            roles = [node["role"]["value"] for node in tree if not node["ignored"]]
            named = {
                node["role"]["value"]: node.get("name", {}).get("value", "") for node in tree if not node["ignored"]
            }
            assert await window.errors() == []
    for role in ("banner", "main", "contentinfo", "navigation", "status", "button", "meter"):
        assert roles.count(role) == 1, role
    assert roles.count("region") == 6
    assert roles.count("table") == 5
    assert roles.count("rowheader") >= len(Topic)
    assert named["meter"] == "Buffer in use"
    assert named["navigation"]
