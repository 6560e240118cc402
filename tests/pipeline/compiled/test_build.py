"""The compiled step is built where there is a compiler; without one, the bridge is one of Python alone."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from bridge import settings
from bridge.errors import SettingsError
from bridge.pipeline import compiled
from bridge.pipeline.compiled import build
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUIRED = {"ARIES_SYMBOLS": "AAPL", "ARIES_ACCESS_TOKEN": "t", "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092"}
NO_COMPILER = {"CC": "a-compiler-that-is-not-there"}
MODULE = f"bridge/pipeline/compiled/{build.MODULE}"


def wheel(directory: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Build a wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True, check=False
    )


def test_without_a_compiler_the_wheel_is_for_every_platform(tmp_path: Path) -> None:
    """It says so, and has no sources to compile, nor what was built in this checkout."""
    done = wheel(tmp_path, NO_COMPILER)
    assert done.returncode == 0, done.stderr
    assert "without the compiled step: no C compiler" in done.stdout + done.stderr
    [built] = tmp_path.iterdir()
    assert built.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(built).namelist()
    assert not [name for name in names if name.endswith((".c", ".h", ".so", "compiled/build.py"))]


def test_where_it_is_required_a_wheel_without_it_is_not_built(tmp_path: Path) -> None:
    """An image or a release must not become slow silently."""
    done = wheel(tmp_path, {**NO_COMPILER, build.SWITCH: "required"})
    assert done.returncode != 0
    assert "no C compiler" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("compiled_step")
def test_with_a_compiler_the_wheel_is_for_this_platform_and_the_same_each_time(tmp_path: Path) -> None:
    """By the stable ABI, one wheel serves every version of Python that is supported."""
    built: list[Path] = []
    for name in ("once", "again"):
        done = wheel(tmp_path / name, {})
        assert done.returncode == 0, done.stderr
        built += (tmp_path / name).iterdir()
    once, again = built
    assert "-cp311-abi3-" in once.name
    assert MODULE in zipfile.ZipFile(once).namelist()
    assert once.read_bytes() == again.read_bytes()


def test_errors_of_a_compiler_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever misses the compiled step finds out why, and no half-written file is left."""
    monkeypatch.setenv("CC", f"{sys.executable} -c 'import sys; sys.exit(\"no headers\")'")
    assert build.try_to_build(tmp_path / "step.so") == f"{sys.executable} failed: no headers"
    assert list(tmp_path.iterdir()) == []


def test_a_build_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of the path without it need a wheel without it."""
    monkeypatch.setenv(build.SWITCH, "off")
    assert build.try_to_build(tmp_path / "step.so") == f"{build.SWITCH}=off"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the import of the compiled step fail, as where it was not built."""
    monkeypatch.setitem(sys.modules, "bridge.pipeline.compiled._lines", None)
    compiled.is_built.cache_clear()
    yield
    compiled.is_built.cache_clear()


def test_a_setting_chooses_what_encodes() -> None:
    """It can be switched off, and by default it is used if it was built."""
    assert settings.load({**REQUIRED, "BRIDGE_ENCODER": "python"}).encoder == "python"
    assert settings.load(REQUIRED).encoder == ("compiled" if compiled.is_built() else "python")


@pytest.mark.usefixtures("not_built")
def test_a_compiled_step_that_is_missing_is_an_error_only_if_it_is_asked_for() -> None:
    """The message says what to do; by default Python does the work."""
    assert settings.load(REQUIRED).encoder == "python"
    with pytest.raises(SettingsError, match="BRIDGE_ENCODER=compiled, but this installation has no compiled step"):
        settings.load({**REQUIRED, "BRIDGE_ENCODER": "compiled"})
