"""``aries-bridge explain`` as a command: its input, output and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from bridge.cli.commands import app
from tests.programs import golden_captures as golden

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

QUOTE = b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"AAPL","bidPrice":"1.25"}}}\n'
OLDER = b'{"action":"update","type":"quote","data":{"symbol":"AAPL","bidPrice":"1.25"}}\n'

#: The command sets up logging in this process.
pytestmark = pytest.mark.usefixtures("log_config_restored")


def explain(*arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["explain", *arguments], input=stdin, env=dict(environ or {}))


def explain_alone(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    command = (sys.executable, "-m", "bridge", "explain", *arguments)
    return subprocess.run(command, capture_output=True, env={}, timeout=50, check=False)


def test_lines_of_standard_input_are_explained_without_any_setting() -> None:
    """One line of output for each record; how many became what is on standard error."""
    done = explain(stdin=QUOTE + b"\nping\nnonsense\n")
    assert done.exit_code == 0
    quote, ping, nonsense = done.stdout.splitlines()
    assert quote.startswith("1 aries.quotes[9] AAPL bid_price=1.25 ")
    assert "session_id" not in quote
    assert ping == "3 no record: heartbeat"
    assert nonsense.startswith("4 aries.dlq[0] - dead letter not_json: ")
    assert done.stderr == "aries-bridge: 3 lines: 1 published, 1 without a record, 1 dead letters.\n"


def test_json_has_all_of_each_line() -> None:
    """Where it was, what it became, and its records."""
    done = explain("--json", "--partitions", "1", stdin=b"ping\n" + QUOTE)
    ping, quote = map(json.loads, done.stdout.splitlines())
    assert ping == {
        "file": "-",
        "line": 1,
        "result": "filtered",
        "filtered": "heartbeat",
        "records": [],
        "unreadable": [],
        "unknown_fields": [],
    }
    assert (quote["line"], quote["result"]) == (2, "published")
    [record] = quote["records"]
    assert (record["topic"], record["partition"], record["key"]) == ("aries.quotes", 0, "AAPL")
    assert (record["schema"], record["record"]["bid_price"]) == ("aries.marketdata.Quote", "1.25")


@pytest.mark.parametrize("dialect", golden.DIALECTS)
def test_a_capture_is_explained_by_its_own_dialect(dialect: str) -> None:
    """From a file and from standard input, with the number of the frame and of the line in it."""
    path = golden.capture(dialect)
    of_file = explain("--json", "--partitions", str(golden.PARTITIONS), str(path))
    assert of_file.exit_code == 0
    wanted = [json.loads(line) for line in golden.expected(dialect).read_text(encoding="utf-8").splitlines()]
    found = [json.loads(golden.constant(line)) for line in of_file.stdout.splitlines()]
    assert [{**one, "entry": 0} for one in wanted] == [
        {name: value for name, value in {**one, "entry": 0}.items() if name not in ("file", "frame", "line")}
        for one in found
    ]
    assert found[0]["file"] == str(path)
    assert found[0]["frame"] == 1
    text = explain(stdin=path.read_bytes()).stdout.splitlines()
    assert text[0].startswith("1.1 no record: auth")


def test_the_dialect_is_found_or_given() -> None:
    """The first line that shows it decides; an option overrides it."""
    assert explain(stdin=b"ping\n" + OLDER).stdout.splitlines()[1].startswith("2 aries.quotes[9] AAPL")
    assert explain(stdin=QUOTE).stdout.startswith("1 aries.quotes[9] AAPL")
    assert "dead letter unknown_message" in explain("--dialect", "envelope", stdin=OLDER).stdout


def test_several_files_are_named(tmp_path: Path) -> None:
    """Each with its own numbers; a file can be standard input."""
    (tmp_path / "one").write_bytes(QUOTE)
    (tmp_path / "two").write_bytes(OLDER)
    done = explain(str(tmp_path / "one"), "-", str(tmp_path / "two"), stdin=b"ping")
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == [
        f"{tmp_path}/one:1",
        "-:1",
        f"{tmp_path}/two:1",
    ]


def test_topics_have_their_names(tmp_path: Path) -> None:
    """Only these settings count; others may be invalid."""
    environ = {"KAFKA_TOPIC_QUOTES": "mine", "BRIDGE_HTTP_PORT": "x"}
    assert explain(stdin=QUOTE, environ=environ).stdout.startswith("1 mine[9] AAPL")


def test_a_closed_pipe_ends_quietly() -> None:
    """As by `| head`: exit code 0, and nothing on standard error."""
    command = (sys.executable, "-m", "bridge", "explain")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(QUOTE)
        running.stdin.flush()
        assert running.stdout.readline().startswith(b"1 aries.quotes")
        running.stdout.close()
        running.stdin.write(QUOTE)
        running.stdin.close()
        assert running.stderr.read() == b""
        assert running.wait(30) == 0


@pytest.mark.parametrize("name", ["none", "."])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    """With its name and the reason, and exit code 1."""
    done = explain(str(tmp_path / name))
    assert done.exit_code == 1
    assert str(done.exception).startswith("cannot read ")


def test_a_damaged_capture_is_an_error_behind_what_could_be_read(tmp_path: Path) -> None:
    """Exit code 1, and no traceback."""
    damaged = tmp_path / "damaged"
    content = golden.capture("action").read_bytes()
    damaged.write_bytes(content[:1500] + b"\xff" * 200 + content[1700:])
    done = explain_alone(str(damaged))
    assert done.returncode == 1
    assert b"damaged" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_wrong_option_is_a_usage_error() -> None:
    """Exit code 2."""
    assert explain("--partitions", "0").exit_code == 2
    assert explain("--dialect", "other").exit_code == 2
