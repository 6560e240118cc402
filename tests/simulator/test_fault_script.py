from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from bridge.errors import SettingsError
from bridge.simulator import faults
from bridge.simulator.fault_script import Step, parse_script, read_script
from bridge.simulator.market_status import MarketState
from bridge.simulator.server import Simulator

if TYPE_CHECKING:
    from pathlib import Path


def test_steps_become_faults_in_order() -> None:
    """Steps are sorted by time and hold typed faults."""
    steps = parse_script(
        [
            {"at": 12, "fault": "http", "status": 429, "retry_after": 3, "times": 2},
            {"at": 9, "fault": "silence", "for": 20},
            {"at": 5.0, "fault": "drop"},
            {"at": 20, "every": 30, "fault": "expire", "warning": 2, "close": False},
            {"at": 21, "fault": "giant_frame", "bytes": 3000000},
            {"at": 22, "fault": "late_auth", "by": 1.5},
            {"at": 23, "fault": "set_market", "status": "extended"},
        ]
    )
    assert steps == (
        Step(5.0, faults.Drop()),
        Step(9, faults.Silence(for_seconds=20)),
        Step(12, faults.Http(status=429, retry_after=3, times=2)),
        Step(20, faults.Expire(warning_seconds=2, close=False), 30),
        Step(21, faults.GiantFrame(size_bytes=3_000_000)),
        Step(22, faults.LateAuth(delay_seconds=1.5)),
        Step(23, faults.SetMarket(status=MarketState.EXTENDED)),
    )


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("drop", "script step 1: must be an object"),
        ({"fault": "drop"}, "script step 1: at: expected seconds since the start, 0 or more, got None"),
        ({"at": -1, "fault": "drop"}, "script step 1: at: expected seconds since the start, 0 or more, got -1"),
        ({"at": True, "fault": "drop"}, "script step 1: at: expected seconds"),
        ({"at": 1, "every": 0, "fault": "drop"}, "script step 1: every: expected seconds, more than 0, got 0"),
        ({"at": 1}, "script step 1: unknown fault None"),
        ({"at": 1, "fault": "silense"}, "script step 1: unknown fault 'silense' (did you mean 'silence'?)"),
        ({"at": 1, "fault": "drop", "for": 2}, "script step 1 (drop): Object contains unknown field `for`"),
        ({"at": 1, "fault": "silence", "for": "2"}, "script step 1 (silence): Expected `float | null`, got `str`"),
        ({"at": 1, "fault": "http"}, "script step 1 (http): Object missing required field `status`"),
        ({"at": 1, "fault": "http", "status": 200}, "script step 1 (http): Expected `int` >= 300"),
    ],
)
def test_invalid_steps(step: object, problem: str) -> None:
    """An invalid step is reported with its number and the problem, followed by the known faults."""
    with pytest.raises(SettingsError) as error:
        parse_script([step])
    assert error.value.problems[0].startswith(problem)
    assert "the known faults are: accept_tokens, arrays, bad_frame, binary, burst, close" in error.value.problems[-1]


def test_all_problems_at_once() -> None:
    """One error holds the problems of all steps."""
    with pytest.raises(SettingsError) as error:
        parse_script([{"at": 1, "fault": "x"}, {"at": 2, "fault": "drop"}, {"at": "3", "fault": "drop"}])
    assert [problem.partition(":")[0] for problem in error.value.problems[:-1]] == ["script step 1", "script step 3"]


def test_a_script_is_a_list() -> None:
    """Anything else is rejected with an example."""
    with pytest.raises(SettingsError, match="must be a list of steps like"):
        parse_script({"at": 1, "fault": "drop"})


def test_scripts_are_read_from_files(tmp_path: Path) -> None:
    """A script file is JSON; a missing file and invalid JSON are errors that name the file."""
    path = tmp_path / "script.json"
    with pytest.raises(SettingsError, match=r"script .*script\.json: cannot be read: No such file"):
        read_script(path)
    path.write_text("[{")
    with pytest.raises(SettingsError, match=r"script .*script\.json: not JSON"):
        read_script(path)
    path.write_text('[{"at": 1, "fault": "drop"}]')
    assert read_script(path) == (Step(1, faults.Drop()),)


async def test_a_simulator_runs_its_script() -> None:
    """Faults are injected at their times, and those with ``every`` at their interval."""
    script = parse_script([{"at": 0.02, "every": 0.02, "fault": "drop"}])
    async with Simulator(script=script) as sim:
        for _ in range(2):
            async with connect(sim.url, proxy=None) as ws:
                with pytest.raises(ConnectionClosedError):
                    await ws.recv()
