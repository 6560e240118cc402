"""The benchmark itself still works: a small run of it, from the command line to the verdicts."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests.programs.bench import report
from tests.programs.bench.brokers import Embedded
from tests.programs.bench.cases import Case, QuietCase, RateCase
from tests.programs.bench.children import Cores
from tests.programs.bench.frames import QUOTES, TRADING_DAY, Recipe, build
from tests.programs.bench.results import Results
from tests.programs.bench.rounds import Rounds, measured
from tests.programs.bench.sides import BRIDGE, SIDES, Side, beside
from tests.programs.bench.trial import Throughput, Trials
from tests.programs.bench.verdicts import verdicts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(240)  # nine processes start, one after the other, perhaps on a busy machine
def test_a_small_run_ends_in_figures_and_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both sides publish a mixed feed whole, at full speed and at a rate, and the report has figures of each."""
    cores = Cores.of_machine()
    trials = Trials(Embedded(cores), cores, tmp_path / "runs")
    case = Case("mix", Recipe(TRADING_DAY, 3000, lines_per_frame=4, dialect="action", symbols=10), target=0.001)
    feed = build(case.recipe)
    run = partial(trials.full_speed, feed=feed, saved=feed.save(tmp_path / "feed"))
    full_speed = measured(case, 1, run, lambda _: None)
    rate = RateCase("rate", 2000, 2, sides=(BRIDGE,))
    feed = build(rate.recipe)
    run_rate = partial(trials.at_rate, feed=feed, saved=feed.save(tmp_path / "feed"), per_second=2000)
    rates = measured(rate, 1, run_rate, lambda _: None, sides=rate.sides)
    rest = QuietCase("at-rest", 100, 1, sides=(BRIDGE,), millicores=1e6)
    feed = build(rest.recipe)
    hardly = partial(trials.quiet, feed=feed, saved=feed.save(tmp_path / "feed"), per_second=100, seconds=1)
    other = beside(shlex.join(BRIDGE.command))
    fails = beside("false {latencies}")
    quiet = measured(rest, 2, hardly, lambda _: None, sides=rest.sides, beside=[other, fails])
    bad = Case("bad-lines", Recipe(QUOTES, 3000, 10, symbols=5, good_symbols=1), sides=(BRIDGE,))
    feed = build(bad.recipe)
    run = partial(trials.full_speed, feed=feed, saved=feed.save(tmp_path / "feed"))
    bad_lines = measured(bad, 1, run, lambda _: None, sides=bad.sides)
    results = Results([full_speed, bad_lines], [rates], [quiet])
    judged = verdicts(results)
    assert (full_speed.voids, bad_lines.voids, rates.voids, quiet.voids) == ([], [], [], [])
    assert list(quiet.void_beside) == ["false"]
    assert [sorted(pair) for pair in quiet.pairs] == [sorted(["bridge", other.name])] * 2
    assert quiet.pairs[0]["bridge"].millicores > 0 < quiet.pairs[0]["bridge"].wake_ups
    assert feed.published < bad_lines.pairs[0]["bridge"].records == 3000
    assert rates.pairs[0]["bridge"].percentiles["count"] > 1000
    assert {verdict.target.partition(":")[0] for verdict in judged} > {"mix", "at-rest"}
    report.show(Console(width=160), {"python": "any"}, results, judged)
    shown = capsys.readouterr().out
    assert "mix" in shown
    assert "bad-lines" in shown
    assert "rate" in shown
    assert "at-rest" in shown
    document = report.document({}, results, judged)
    assert document["full_speed"][0]["cpu_ratio"]["median"] > 0
    assert "cpu_ratio" not in document["full_speed"][1]


def test_a_void_run_is_said_and_fails_a_verdict(tmp_path: Path) -> None:
    """No figure is taken from a bridge that does not publish everything."""
    recipe = Recipe(QUOTES, 50)
    void: Rounds[Case, Throughput] = Rounds(Case("quotes", recipe, target=1), voids=["bridge: a hole"])
    verdict = verdicts(Results([void]))[0]
    assert not verdict.met
    assert "quotes: bridge: a hole" in verdict.found


def test_a_run_of_no_time_has_a_ratio() -> None:
    """A tiny run may take no CPU time that a clock shows; that is no reason to end without a report."""
    tiny = Throughput(1, 1.0, 0.0, 0.0, 0.0, 1, 1, 1, 0.0)
    rounds = measured(Case("none", Recipe(QUOTES, 1)), 1, lambda _: tiny, lambda _: None)
    assert rounds.ratio(lambda run: run.cpu_us).median == 0


def test_pairs_take_turns_in_being_first() -> None:
    """What one run leaves behind must favour neither side."""
    order: list[str] = []

    def run(side: Side) -> Throughput:
        order.append(side.name)
        return Throughput(1, 1.0, 1.0, 0.0, 0.0, 1, 1, 1, 1.0)

    measured(Case("none", Recipe(QUOTES, 1)), 2, run, lambda _: None)
    names = [side.name for side in SIDES]
    assert order == [*names, *reversed(names)]
