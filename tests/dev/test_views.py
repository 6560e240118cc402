"""Both views show the connections, every topic, and whether the accounts add up."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from bridge.dev.live import LiveView, screen
from bridge.dev.log_lines import LogLines
from bridge.dev.plain import PlainView, age, block
from bridge.topics import Topic
from tests.dev.moments import EMBEDDED, STREAMING, accounts, rows, snapshot

if TYPE_CHECKING:
    from bridge.dev.snapshot import Snapshot

WARNING = "2026-11-22T15:38:24.935787Z [warning  ] Aries connection lost"


def drawn(moment: Snapshot, *log_lines: str, width: int = 80, height: int = 24) -> list[str]:
    """Return the lines of the live view on a terminal of this size."""
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(screen(moment, log_lines), height=height)
    return capture.get().splitlines()


def test_a_block_has_a_line_for_each_topic() -> None:
    """A plain block tells connections, totals, rates, newest records and accounts."""
    head, *topics, ledger = block(snapshot())
    assert head.startswith("-- 62.0 s  streaming: simulator ws://aries.test/v1/market/ws, envelope dialect, session 17")
    assert head.endswith("embedded broker 127.0.0.1:9092")
    assert [line.split()[0] for line in topics] == [f"aries.{topic}" for topic in Topic]
    assert topics[0].split(maxsplit=3)[1:] == ["1,400", "1,400.0/s", "newest of quotes (0.2 s ago)"]
    assert topics[4].split() == ["aries.greeks", "-"]
    assert ledger.strip() == (
        "1,502 lines read + 10 split = 1,500 published + 3 filtered + 4 dead-lettered + 3 conflated + 2 pending "
        "(adds up)"
    )


def test_before_anything_flows_a_block_says_where_to_look() -> None:
    """The first block has no empty table, but the way to the records."""
    *_, last = block(snapshot(shown=rows()))
    assert last.endswith("aries-bridge tail -b 127.0.0.1:9092")


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view_fits_the_terminal(width: int) -> None:
    """No line is broken by a narrow terminal, and nothing but the newest record is cut."""
    lines = drawn(snapshot(), WARNING, width=width)
    assert len(lines) == 24
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    for topic in Topic:
        assert f"\n{topic.value} " in text
    for part in ("1:02", "streaming", "session 1795361512218891", "1,400", "newest of quotes", "✓ adds up", "1,502"):
        assert part in text
    assert "http://127.0.0.1:8080/" in lines[0]
    assert "15:38:24 [warning  ] Aries connection lost" in text


@pytest.mark.parametrize(("width", "height"), [(60, 14), (20, 5), (5, 1)])
def test_a_terminal_that_is_too_small_is_no_error(width: int, height: int) -> None:
    """What does not fit is left out, from below."""
    lines = drawn(snapshot(), WARNING, width=width, height=height)
    assert len(lines) == height
    assert lines[0].startswith("arie")


def test_the_newest_log_lines_are_shown_whole() -> None:
    """Older lines give way, and a long line is folded rather than cut."""
    lines = drawn(snapshot(), *(f"old {n}" for n in range(50)), f"reason={'x' * 100}end", width=80, height=24)
    assert lines[-1].strip().endswith("xend")
    assert "old 49" in "\n".join(lines)
    assert "old 1 " not in "\n".join(lines)


@pytest.mark.parametrize("view", [lambda moment: list(block(moment)), drawn])
def test_trouble_is_plain_to_see(view: object) -> None:
    """Lost connections and accounts that do not add up stand out, and cannot steer the terminal."""
    ledger = accounts()
    ledger.lines_received += 1
    moment = snapshot(
        aries=replace(STREAMING, state="waiting", reconnects=2, last_loss="closed:\x1b[2J bye"),
        kafka=replace(EMBEDDED, connected=False, problem="refused"),
        ledger=ledger,
    )
    assert callable(view)
    text = "\n".join(view(moment))
    for part in ("waiting", "closed:?[2J bye", "not connected", "refused", "DOES NOT ADD UP"):
        assert part in text


def test_log_lines_wait_until_the_live_view_has_ended() -> None:
    """What is logged meanwhile appears in the view, and on standard error only afterwards."""
    stderr, stdout = StringIO(), StringIO()
    log_lines = LogLines(stderr)
    print("before", file=log_lines)
    with LiveView(Console(file=stdout, width=80, height=24, force_terminal=True), log_lines) as view:
        assert view is None
        print("mean", end="", file=log_lines)
        print("while", file=log_lines)
        print("cut", end="", file=log_lines)
        assert stderr.getvalue() == "before\n"
        assert log_lines.lines == ("meanwhile",)
    assert stderr.getvalue() == "before\nmeanwhile\ncut"
    print(" after", file=log_lines)
    assert stderr.getvalue().endswith("cut after\n")
    assert stdout.getvalue().count("\x1b[?1049h") == stdout.getvalue().count("\x1b[?1049l") == 1
    assert stdout.getvalue().count("\x1b[?25l") == stdout.getvalue().count("\x1b[?25h") == 1


def test_log_lines_that_are_too_many_are_counted() -> None:
    """The newest are kept; how many were left out is said."""
    stderr = StringIO()
    log_lines = LogLines(stderr)
    log_lines.hold()
    for number in range(250):
        print(number, file=log_lines)
    log_lines.release()
    first, *kept = stderr.getvalue().splitlines()
    assert first == "(50 earlier log lines are left out)"
    assert kept == [str(number) for number in range(50, 250)]


def test_the_plain_view_prints_its_block(capsys: pytest.CaptureFixture[str]) -> None:
    """Each block is printed at once, and beside the first where the status page is."""
    lines = list(block(snapshot()))
    page = "   Status page: http://127.0.0.1:8080/"
    view = PlainView()
    with view:
        view.show(replace(snapshot(), page=None))
        view.show(snapshot())
        view.show(snapshot())
    assert capsys.readouterr().out.splitlines() == [*lines, lines[0], page, *lines[1:], *lines]


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1 min"), (7300, "2 h")])
def test_ages_are_short(seconds: float, text: str) -> None:
    """An age takes few characters whatever it is."""
    assert age(seconds) == text
