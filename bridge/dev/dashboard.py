"""What ``dev`` shows while it runs: connections, topics and accounts, as a live table or as plain lines."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge.aries.subscriptions import symbols
from bridge.dev.accounting_summary import equation
from bridge.dev.record_summary import printable
from bridge.settings.field_types import redact_url
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.app import Service
    from bridge.dev.environment import Environment
    from bridge.dev.topic_reader import TopicReader
    from bridge.pipeline.accounts import Accounts

#: A rate is the mean over this many updates.
RATE_UPDATES: Final = 4
#: Plain lines are not cut.
_PLAIN_WIDTH: Final = 2000
_STATE_STYLES: Final = {"streaming": "bold green", "waiting": "bold red"}
_MINUTE_SECONDS: Final = 60


class Dashboard:
    """The state of a bridge and its topics as text; ``redact`` keeps secrets out of error messages."""

    def __init__(
        self, environment: Environment, service: Service, reader: TopicReader, redact: Callable[[str], str]
    ) -> None:
        self._environment = environment
        self._bridge = service.bridge
        self._http = service.http
        self._reader = reader
        self._redact = redact
        self._counts: deque[tuple[float, Mapping[Topic, int]]] = deque(maxlen=RATE_UPDATES)

    def render(self, seconds: float) -> Group:
        """Return the present state, some seconds after the start, ready to be printed by another thread."""
        accounts, url = self._bridge.accounts, self._http.url
        self._counts.append((seconds, written(accounts)))
        balance = ("DOES NOT ADD UP", "bold red") if accounts.balance else ("adds up", "bold green")
        return Group(
            Text.assemble(f"-- {seconds:.1f} s", f"  Status page: {url}" if url else ""),
            self._aries(),
            *self._chains(),
            self._kafka(),
            self._topics(),
            Text.assemble(f"{equation(accounts)} (", balance, ")"),
        )

    def _aries(self) -> Text:
        settings, client, lost = self._bridge.settings, self._bridge.client, self._bridge.client.last_loss
        server = "Aries" if self._environment.simulator is None else "simulator"
        session_id, reconnects = self._bridge.control.session_id, sum(client.reconnects.values())
        return Text.assemble(
            "Aries: ",
            (client.state, _STATE_STYLES.get(client.state, "yellow")),
            f", {server} {redact_url(settings.aries_ws_url)}, {settings.dialect} dialect",
            f", session {session_id}" if session_id else "",
            (f", disconnects: {reconnects} (last: {self._safe(f'{lost.cause}: {lost}')})" if lost else "", "yellow"),
        )

    def _chains(self) -> Iterator[Text]:
        """Yield how many contracts of each expiration there are, and why the last change was made."""
        chains = self._bridge.plans.chains
        statuses = chains.statuses()
        if not statuses:
            return
        contracts = (symbols.contract(symbol) for symbol in chains.resolved)
        days = Counter(contract.expiration for contract in contracts if contract is not None)
        expiring = ", ".join(f"{count} expire {day}" for day, count in sorted(days.items()))
        problems = "; ".join(status.problem for status in statuses if status.problem)
        yield Text.assemble(
            f"Option chains: {expiring or 'no contracts'}; last change: {chains.resolved.cause or 'none'}",
            (f" ({self._safe(problems)})", "red") if problems else "",
        )

    def _kafka(self) -> Text:
        delivery, servers = self._bridge.publisher.state, ",".join(self._bridge.settings.kafka_bootstrap_servers)
        broker = "Kafka" if self._environment.broker is None else "embedded broker"
        problem = delivery.last_error or self._reader.problem
        return Text.assemble(
            "Kafka: ",
            ("connected", "bold green") if delivery.connected else ("not connected", "bold red"),
            f", {broker} {servers}",
            (f" ({self._safe(problem)})", "red") if problem else f"; more: aries-bridge tail -b {servers}",
        )

    def _topics(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("topic", "records", "rate", "age"):
            table.add_column(name, no_wrap=True, justify="left" if name == "topic" else "right")
        table.add_column(_cut("newest record, read back from Kafka"))
        (then, before), (now, counts) = self._counts[0], self._counts[-1]
        opened = {queue.topic for queue in self._bridge.buffer.queues()}
        for topic, name in self._bridge.settings.topics.items():
            if topic in opened:
                rate = (counts[topic] - before[topic]) / (now - then) if now > then else 0.0
                newest = self._reader.newest.get(topic)
                # The last column gives way in a narrow terminal: it may shrink, and its text is cut, not wrapped.
                cells = (age(time.time() - newest.timestamp_ms / 1000), _cut(newest.text)) if newest else ()
                table.add_row(name, f"{counts[topic]:,}", f"{rate:,.1f}/s", *cells)
        return table

    def _safe(self, text: str) -> str:
        return printable(self._redact(text))


@contextmanager
def open_view(*, plain: bool) -> Iterator[Callable[[Group], None]]:
    """Yield what shows an update: a live table if standard output is a terminal that can show it, else plain lines.

    Showing raises OSError if standard output is closed.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal shows no ellipsis
    console = Console(markup=False, highlight=False, emoji=False)  # what is logged is no markup
    if plain or not console.is_terminal or console.is_dumb_terminal or not os.environ.get("TERM"):
        yield _print_lines
        return
    # Log lines appear above the table, unless standard error goes elsewhere, as with `2>file`.
    redirect_stderr = sys.stderr.isatty()
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=redirect_stderr
    ) as live:
        yield partial(live.update, refresh=True)


def _print_lines(group: Group) -> None:
    console = Console(color_system=None, width=_PLAIN_WIDTH)
    with console.capture() as captured:
        console.print(group)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    print(*lines, sep="\n", flush=True)  # noqa: T201 - the output of the command


def written(accounts: Accounts) -> dict[Topic, int]:
    """Return how many records of each topic Kafka has acknowledged."""
    own = {Topic.CONTROL: accounts.announced, Topic.DLQ: accounts.dead_lettered.total()}
    return {topic: own.get(topic, accounts.published[topic]) for topic in Topic}


def age(seconds: float) -> str:
    """Return a duration in a few characters."""
    return f"{max(seconds, 0):.1f} s" if seconds < _MINUTE_SECONDS else str(timedelta(seconds=int(seconds)))


def _cut(text: str) -> Text:
    """Return a text that is cut, not wrapped, in a narrow terminal."""
    return Text(text, no_wrap=True, overflow="ellipsis")
