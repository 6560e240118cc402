"""The report: tables and JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from tests.programs.bench.beside_table import beside_table
from tests.programs.bench.latencies import PARTS
from tests.programs.bench.sides import SIDES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from tests.programs.bench.cases import Case, QuietCase, RateCase
    from tests.programs.bench.growth import Growth
    from tests.programs.bench.results import Results
    from tests.programs.bench.rounds import Rounds
    from tests.programs.bench.trial import Latency, Quiet, Throughput
    from tests.programs.bench.verdicts import Verdict

    FullSpeed = Sequence[Rounds[Case, Throughput]]
    Rates = Sequence[Rounds[RateCase, Latency]]
    QuietRates = Sequence[Rounds[QuietCase, Quiet]]

#: Above this load of the other cores, feeder and broker were measured, not the bridge.
TOO_BUSY: Final = 0.9


def show(
    console: Console,
    facts: Mapping[str, str],
    results: Results,
    verdicts: Sequence[Verdict],
) -> None:
    """Print the conditions, the tables, and a line for each target."""
    _show_facts(console, facts)
    if results.full_speed:
        console.print(_throughput_table(results.full_speed))
    if results.rates:
        console.print(_latency_table(results.rates))
    if results.quiet:
        console.print(_quiet_table(results.quiet))
    if (beside := beside_table(results)) is not None:
        console.print(beside)
    for one in results.full_speed:
        if one.pairs and one.spread("bridge", lambda run: run.others_busy).median > TOO_BUSY:
            console.print(f"{one.case.name}: feeder and broker were the bottleneck", style="bold red")
    _show_verdicts(console, verdicts)


def show_growth(console: Console, facts: Mapping[str, str], growth: Growth) -> None:
    """Print the growth of CPU time and memory."""
    _show_facts(console, facts)
    table = Table(title="Growth: medians")
    for heading in ("with", "µs CPU a record", "MB at the end"):
        table.add_column(heading, justify="right")
    for unit, sizes in (
        ("symbols", growth.by_symbols),
        ("partitions", growth.by_partitions),
        ("seconds", growth.by_seconds),
    ):
        for one in sizes:
            table.add_row(f"{one.size:,.0f} {unit}", f"{one.cpu_us:.1f}", f"{one.rss_bytes / 1e6:.1f}")
    console.print(table)
    _show_verdicts(console, growth.verdicts())


def _show_facts(console: Console, facts: Mapping[str, str]) -> None:
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), style="dim", highlight=False)


def _show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        console.print(str(verdict), style="green" if verdict.met else "bold red", highlight=False)


def document(
    facts: Mapping[str, str],
    results: Results,
    verdicts: Sequence[Verdict],
) -> dict[str, Any]:
    """Return everything as JSON."""
    return {
        "machine": dict(facts),
        "full_speed": [_full_speed(one) for one in results.full_speed],
        "rates": [_rate(one) for one in results.rates],
        "quiet": [_quiet(one) for one in results.quiet],
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def _throughput_table(full_speed: FullSpeed) -> Table:
    table = Table(title="At full speed: medians of the pairs, ratios with their range")
    table.add_column("case", no_wrap=True)
    headings = ("pairs", "µs CPU a record", "baseline", "times as fast", "records/s", "baseline", "times as fast")
    for heading in (*headings, "MB peak", "at end"):
        table.add_column(heading, justify="right")
    for one in full_speed:
        table.add_row(one.case.name, *(_throughput_row(one) if one.pairs else ["void"]))
    return table


def _throughput_row(one: Rounds[Case, Throughput]) -> list[str]:
    both = set(one.case.sides) == set(SIDES)
    baseline_us = one.spread("baseline", _cpu_us).text(1) if both else "-"
    baseline_speed = f"{one.spread('baseline', _per_second).median:,.0f}" if both else "-"
    return [
        f"{len(one.pairs)}{f' ({len(one.voids)} void)' if one.voids else ''}",
        one.spread("bridge", _cpu_us).text(1),
        baseline_us,
        str(one.ratio(_cpu_us)) if both else "-",
        f"{one.spread('bridge', _per_second).median:,.0f}",
        baseline_speed,
        str(one.ratio(lambda run: run.wall_seconds)) if both else "-",
        f"{one.spread('bridge', lambda run: run.rss_peak_bytes).highest / 1e6:.0f}",
        f"{one.spread('bridge', lambda run: run.rss_end_bytes).highest / 1e6:.0f}",
    ]


def _cpu_us(run: Throughput) -> float:
    return run.cpu_us


def _per_second(run: Throughput) -> float:
    return run.per_second


def _latency_table(rates: Rates) -> Table:
    table = Table(title="At an offered rate, one quote a frame: receive to acknowledgement in ms, median (range)")
    for heading in ("case", ""):
        table.add_column(heading, no_wrap=True)
    for heading in (*PARTS, "s behind", "of a core", "MB peak", "stolen"):
        table.add_column(heading, justify="right")
    for one in rates:
        for side in (side.name for side in one.case.sides):
            if not one.pairs:
                table.add_row(one.case.name, side, "void")
                continue
            parts = [one.spread(side, lambda run, part=part: run.percentiles[part]) for part in PARTS]  # type: ignore[misc]
            table.add_row(
                one.case.name,
                side,
                *map(str, parts),
                str(one.spread(side, lambda run: run.behind_seconds)),
                f"{one.spread(side, lambda run: run.share_of_core).median:.0%}",
                f"{one.spread(side, lambda run: run.rss_peak_bytes).highest / 1e6:.0f}",
                f"{one.spread(side, lambda run: run.stolen).highest:.1%}",
            )
    return table


def _quiet_table(quiet: QuietRates) -> Table:
    table = Table(title="Hardly any lines, of a few symbols: thousandths of a core, median (range)")
    for heading in ("case", ""):
        table.add_column(heading, no_wrap=True)
    for heading in ("pairs", "millicores", "wake-ups/s", "µs CPU a record", "MB", "feed late, ms"):
        table.add_column(heading, justify="right")
    for one in quiet:
        for side in (side.name for side in one.case.sides):
            if not one.pairs:
                table.add_row(one.case.name, side, "void")
                continue
            records = one.pairs[0][side].records
            table.add_row(
                one.case.name,
                side,
                str(len(one.pairs)),
                one.spread(side, _millicores).text(1),
                one.spread(side, lambda run: run.wake_ups_per_second).text(0),
                one.spread(side, lambda run: run.cpu_seconds / run.records * 1e6).text(0) if records else "-",
                f"{one.spread(side, lambda run: run.rss_bytes).highest / 1e6:.0f}",
                one.spread(side, lambda run: run.late_seconds * 1e3).text(0),
            )
    return table


def _millicores(run: Quiet) -> float:
    return run.millicores


def _full_speed(one: Rounds[Case, Throughput]) -> dict[str, Any]:
    both = bool(one.pairs) and set(one.case.sides) == set(SIDES)
    ratios = {"cpu_ratio": _cpu_us, "speed_ratio": lambda run: run.wall_seconds} if both else {}
    pairs = [
        {
            side: {**asdict(run), "cpu_us_per_record": run.cpu_us, "records_per_second": run.per_second}
            for side, run in pair.items()
        }
        for pair in one.pairs
    ]
    spreads = {name: asdict(one.ratio(figure)) for name, figure in ratios.items()}
    beside = {
        name: {"cpu_ratio": asdict(one.ratio(_cpu_us, name))}
        for name in (one.pairs[0] if one.pairs else ())
        if name not in {side.name for side in SIDES} and name not in one.void_beside
    }
    return {**_case(one), **spreads, "beside": beside, "pairs": pairs}


def _rate(one: Rounds[RateCase, Latency]) -> dict[str, Any]:
    return {**_case(one), "pairs": [{side: asdict(run) for side, run in pair.items()} for pair in one.pairs]}


def _quiet(one: Rounds[QuietCase, Quiet]) -> dict[str, Any]:
    pairs = [{side: {**asdict(run), "millicores": run.millicores} for side, run in pair.items()} for pair in one.pairs]
    return {**_case(one), "pairs": pairs}


def _case(one: Rounds[Any, Any]) -> dict[str, Any]:
    sides = [side.name for side in one.case.sides]
    return {**asdict(one.case), "sides": sides, "void": one.voids, "void_beside": one.void_beside}
