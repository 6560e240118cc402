"""The table and the plain lines show the connections, every topic, and whether the accounts add up."""

from __future__ import annotations

import sys
import time
from io import StringIO
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console, Group

from bridge import settings
from bridge.app import Bridge, Service
from bridge.aries.client import ClientState
from bridge.dev.dashboard import Dashboard, age, open_view
from bridge.dev.environment import Environment
from bridge.dev.topic_reader import Newest, TopicReader
from bridge.errors import ConnectionLost, DisconnectCause
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.dev.example import example_accounts

if TYPE_CHECKING:
    from typing import TextIO

OPENED = tuple(topic for topic in Topic if topic is not Topic.GREEKS)


@pytest.fixture
def environment() -> Environment:
    """Return an environment with a simulator and an embedded broker, neither of them running."""
    environ = {
        "ARIES_WS_URL": "ws://aries.test/v1/market/ws",
        "ARIES_ACCESS_TOKEN": "x",
        "ARIES_SYMBOLS": "A",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    }
    return Environment(environ, settings.load(environ), Simulator(), EmbeddedBroker(), ())


@pytest.fixture
def service(environment: Environment) -> Service:
    """Return a service whose bridge streams, as far as can be seen from outside."""
    service = Service(environment.settings)
    bridge = service.bridge
    bridge.buffer.open(dict.fromkeys(OPENED, 1))
    bridge.accounts = example_accounts()
    bridge.client.state = ClientState.STREAMING
    bridge.control.start_session(1_795_361_512_218_891)
    bridge.publisher.state.connected = True
    service.http.url = "http://127.0.0.1:8080/"
    return service


@pytest.fixture
def bridge(service: Service) -> Bridge:
    """Return the bridge of that service."""
    return service.bridge


@pytest.fixture
def dashboard(environment: Environment, service: Service) -> Dashboard:
    """Return the dashboard of that service, with a newest record in each topic."""
    reader = TopicReader(service.bridge, since_ms=0)
    now_ms = int(time.time() * 1000)
    reader.newest.update({topic: Newest(f"newest of {topic}", now_ms) for topic in OPENED})
    return Dashboard(environment, service, reader, lambda text: text.replace("hunter22", "***"))


def drawn(shown: Dashboard | Group, seconds: float = 62.04, *, width: int = 200, height: int = 24) -> list[str]:
    """Return the lines on a terminal of this size."""
    rendered = shown.render(seconds) if isinstance(shown, Dashboard) else shown
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(rendered)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_each_topic_has_a_line(dashboard: Dashboard) -> None:
    """Connections, totals, rates, newest records and accounts are shown; topics without subscription are not."""
    head, aries, kafka, columns, *topics, accounts = drawn(dashboard)
    assert head == "-- 62.0 s  Status page: http://127.0.0.1:8080/"
    assert aries == (
        "Aries: streaming, simulator ws://aries.test/v1/market/ws, envelope dialect, session 1795361512218891"
    )
    assert kafka == ("Kafka: connected, embedded broker 127.0.0.1:9092; more: aries-bridge tail -b 127.0.0.1:9092")
    assert columns.split()[:4] == ["topic", "records", "rate", "age"]
    assert [line.split()[0] for line in topics] == [f"aries.{topic}" for topic in OPENED]
    assert topics[0].split(maxsplit=5) == ["aries.quotes", "1,400", "0.0/s", "0.0", "s", "newest of quotes"]
    counts = {line.split()[0]: line.split()[1] for line in topics}
    assert (counts["aries.control"], counts["aries.dlq"]) == ("3", "4")
    assert accounts == (
        "1,502 lines read + 10 split = 1,500 published + 3 filtered + 4 dead-lettered + 3 conflated + 2 pending "
        "(adds up)"
    )


def test_a_rate_is_the_mean_of_the_last_updates(dashboard: Dashboard, bridge: Bridge) -> None:
    """Older updates do not count, so a topic that gets no more records has no rate; one update alone has none."""

    def rate(seconds: float, count: int) -> str:
        bridge.accounts.published[Topic.QUOTES] = count
        return drawn(dashboard, seconds)[4].split()[2]

    assert [rate(10, 1000), rate(11, 1100), rate(12, 1100)] == ["0.0/s", "100.0/s", "50.0/s"]
    assert [rate(13, 1100), rate(14, 1100)] == ["33.3/s", "0.0/s"]


def test_before_kafka_is_reached_the_table_is_empty(environment: Environment) -> None:
    """No topic is shown until the bridge knows its partitions."""
    service = Service(environment.settings)
    head, aries, kafka, _columns, accounts = drawn(
        Dashboard(environment, service, TopicReader(service.bridge, since_ms=0), str), 0
    )
    assert (head, accounts) == ("-- 0.0 s", "0 lines read = 0 published (adds up)")
    assert aries.startswith("Aries: starting, ")
    assert kafka.endswith("more: aries-bridge tail -b 127.0.0.1:9092")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(dashboard: Dashboard, width: int) -> None:
    """Each topic has one line in a narrow terminal, cut at its newest record; the other lines are wrapped."""
    lines = drawn(dashboard, width=width)
    topics = [line for line in lines if line.startswith("aries.")]
    assert [line.split()[0] for line in topics] == [f"aries.{topic}" for topic in OPENED]
    assert all(" newest of " in line for line in topics)
    assert all(len(line) <= width for line in lines)
    text = " ".join(lines)
    for part in ("http://127.0.0.1:8080/", "session 1795361512218891", "tail -b 127.0.0.1:9092", "(adds up)"):
        assert part in text


@pytest.mark.parametrize(("width", "height"), [(60, 14), (20, 5), (5, 1)])
def test_a_terminal_that_is_too_small_is_no_error(dashboard: Dashboard, width: int, height: int) -> None:
    """Every line fits the width."""
    lines = drawn(dashboard, width=width, height=height)
    assert lines[0].startswith("--")
    assert all(len(line) <= width for line in lines)


def test_problems_are_shown(dashboard: Dashboard, bridge: Bridge) -> None:
    """Lost connections and a wrong balance are named, without secrets, and cannot control the terminal."""
    bridge.accounts.lines_received += 1
    bridge.client.state = ClientState.WAITING
    bridge.client.reconnects = {DisconnectCause.CLOSED: 2}
    bridge.client.last_loss = ConnectionLost(DisconnectCause.CLOSED, "\x1b[2J bye hunter22")
    bridge.publisher.state.connected = False
    bridge.publisher.state.last_error = "refused"
    text = "\n".join(drawn(dashboard))
    for part in (
        "waiting",
        "disconnects: 2 (last: closed: ?[2J bye ***)",
        "not connected",
        "(refused)",
        "DOES NOT ADD UP",
    ):
        assert part in text


def test_plain_lines_are_printed_at_each_update(dashboard: Dashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal each update is a block of lines, not cut and not coloured."""
    rendered = dashboard.render(62.04)
    lines = drawn(rendered)
    with open_view(plain=False) as show:  # standard output is no terminal here
        show(rendered)
        show(rendered)
    assert capsys.readouterr().out.splitlines() == [*lines, *lines]


class Terminal(StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make one terminal of standard output and standard error."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", cast("TextIO", terminal))
    monkeypatch.setattr(sys, "stderr", cast("TextIO", terminal))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return terminal


def test_messages_on_standard_error_appear_above_the_live_table(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are printed at once, whole and without interpreting markup, and the table is drawn below them again."""
    terminal = use_terminal(monkeypatch)
    with open_view(plain=False) as show:
        show(dashboard.render(1))
        sys.stderr.write("[red]mean")
        sys.stderr.write("while[/]\n")
        shown = terminal.getvalue()
        assert shown.index("-- 1.0 s") < shown.index("[red]meanwhile[/]") < shown.rindex("-- 1.0 s")
    sys.stderr.write("after\n")
    assert terminal.getvalue().endswith("after\n")
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1


def test_redirected_standard_error_stays_redirected(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `2>file` log lines go to the file, although a live table is shown."""
    terminal, file = use_terminal(monkeypatch), StringIO()
    monkeypatch.setattr(sys, "stderr", cast("TextIO", file))
    with open_view(plain=False) as show:
        show(dashboard.render(1))
        sys.stderr.write("a log line\n")
    assert file.getvalue() == "a log line\n"
    assert "\x1b[?25l" in terminal.getvalue()
    assert "a log line" not in terminal.getvalue()


def test_plain_lines_can_be_asked_for(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --plain a terminal gets lines, too."""
    terminal = use_terminal(monkeypatch)
    with open_view(plain=True) as show:
        show(dashboard.render(1))
    assert terminal.getvalue().startswith("-- 1.0 s")
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0.0 s"), (0.04, "0.0 s"), (59.9, "59.9 s"), (7261, "2:01:01")])
def test_ages_are_short(seconds: float, text: str) -> None:
    """An age takes few characters at any value."""
    assert age(seconds) == text
