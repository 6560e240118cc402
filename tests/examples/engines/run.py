"""The examples for engines whose download is large; `make test-engines` runs them, `make test` does not."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.examples import toolchain
from tests.examples.scene import PLAIN, REGISTRY
from tests.support import maven
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.examples.example import Command, Line
    from tests.examples.scene import Scene

HERE: Final = Path(__file__).parent
FLINK = toolchain.EXAMPLES / "flink"
SPARK = toolchain.EXAMPLES / "spark"
DEADLINE_SECONDS = 400
#: Reflection that Flink's serializers need from Java 17 on.
_OPENS: Final = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "util", "time")]
pytestmark = pytest.mark.timeout(1500)

BID, PRICE, SIZE = "212.500000001", "212.500000001", "0.083000"
#: The book of AAPL at the end: price, bid size, ask size.
BOOK: Final = {(BID, 9, 0), ("212.250000000", 400, None), ("212.800000000", None, 5)}


def test_flink_sql_reads_values_with_a_registry(kafka_scene: Scene, tmp_path: Path) -> None:
    """The newest bid, what was cleared, an execution of a fraction, the book made of changes, and the control kinds."""
    home = toolchain.installed(HERE, ["flink.xml"], _flink_jars)
    script = tmp_path / "quotes.sql"
    text = (FLINK / "quotes.sql").read_text(encoding="utf-8")
    places = {"localhost:9092": kafka_scene.bootstrap_servers, "http://localhost:8081": kafka_scene.registry_url}
    for place, ours in {**places, "'aries.": f"'{REGISTRY}."}.items():
        assert place in text
        text = text.replace(place, ours)
    script.write_text(text, encoding="utf-8")
    command: Command = ["java", *_OPENS, "-cp", f"{home}/jars/*", HERE / "RunSql.java", script]
    rows = [tuple(line.removeprefix("+I[").removesuffix("]").split(", ")) for line in _output(command, tmp_path)]
    assert ("bid_price", "AAPL", BID) in rows
    assert ("bid_size", "AAPL", "9") in rows
    assert ("ask_price", "AAPL", "null") in rows
    assert ("trade", "AAPL", PRICE, SIZE) in rows
    book = [row[2:] for row in rows if row[:2] == ("book", "AAPL")]
    assert set(book) == {tuple("null" if value is None else str(value) for value in row) for row in BOOK}
    microsoft = {
        price: [bid, ask]
        for part, symbol, price, bid, ask in (row for row in rows if row[0] == "book")
        if symbol == "MSFT"
    }
    assert microsoft == {
        price: ["null" if size is None else str(size) for size in row] for price, row in kafka_scene.book.items()
    }
    _assert_kinds([row[1] for row in rows if row[0] == "control"])


@pytest.mark.parametrize("prefix", [PLAIN, REGISTRY])
def test_spark_reads_values_of_both_encodings(kafka_scene: Scene, tmp_path: Path, prefix: str) -> None:
    """The same, from values with a fingerprint and with an id."""
    jars = toolchain.installed(HERE, ["spark.xml"], _spark_jars) / "jars"
    home = toolchain.installed(SPARK, ["requirements.txt"], toolchain.install_python)
    options = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.sql.shuffle.partitions": "1"}
    submit = ["--master local[1]", f"--jars {','.join(map(str, sorted(jars.glob('*.jar'))))}"]
    submit += [f"--conf {name}={value}" for name, value in options.items()]
    environ = {"PYSPARK_SUBMIT_ARGS": " ".join([*submit, "pyspark-shell"]), "SPARK_LOCAL_IP": "127.0.0.1"}
    command: Command = [
        toolchain.python_of(home),
        SPARK / "quotes.py",
        kafka_scene.bootstrap_servers,
        prefix,
        ROOT / "avro",
    ]
    lines: list[Line] = [
        json.loads(line)
        for line in _output([*command, *(["--registry"] if prefix == REGISTRY else [])], tmp_path, environ)
    ]
    quote = {"topic": "quotes", "symbol": "AAPL", "bid_price": BID, "bid_size": "9"}
    assert quote in lines  # a null is left out by to_json: there is no ask
    assert {"topic": "trades", "symbol": "AAPL", "last_price": PRICE, "size": SIZE} in lines
    book = [line for line in lines if line["topic"] == "book"]
    sizes = {(line["symbol"], line["price"], line.get("bid_size"), line.get("ask_size")) for line in book}
    assert sizes == {("AAPL", *row) for row in BOOK} | {
        ("MSFT", price, *row) for price, row in kafka_scene.book.items()
    }
    _assert_kinds([line["kind"] for line in lines if line["topic"] == "control"])


def _assert_kinds(kinds: list[str]) -> None:
    assert kinds[:3] == ["SESSION_STARTED", "SUBSCRIBED", "GAP"]
    assert kinds[-1] == "SESSION_COMPLETED"


def _output(command: Command, directory: Path, environ: Mapping[str, str] | None = None) -> list[str]:
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout.splitlines()


def _flink_jars(directory: Path) -> None:
    _jars(directory, "flink.xml")


def _spark_jars(directory: Path) -> None:
    _jars(directory, "spark.xml")


def _jars(directory: Path, pom: str) -> None:
    copy = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={directory}/jars")
    maven.run(directory, pom.removesuffix(".xml"), "-f", pom, *copy)
