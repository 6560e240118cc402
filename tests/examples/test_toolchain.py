"""What the examples need is installed once, and again after a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.examples import toolchain
from tests.examples.example import lines

if TYPE_CHECKING:
    from pathlib import Path


def test_what_an_example_needs_is_installed_once_for_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call does not install; a changed file does, and so does a failure before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    example = tmp_path / "example"
    example.mkdir()
    installs: list[str] = []

    def install(directory: Path) -> None:
        installs.append((directory / "needs.txt").read_text())
        if installs == ["one"]:
            raise toolchain.InstallFailed("the first time")

    (example / "needs.txt").write_text("one")
    with pytest.raises(toolchain.InstallFailed):
        toolchain.installed(example, ["*.txt"], install)
    home = toolchain.installed(example, ["*.txt"], install)
    assert toolchain.installed(example, ["*.txt"], install) == home
    (example / "needs.txt").write_text("two")
    assert toolchain.installed(example, ["*.txt"], install) != home
    assert installs == ["one", "one", "two"]


def test_a_program_that_is_missing_or_fails_is_named(tmp_path: Path) -> None:
    """The reason of a skip says which command it was."""
    with pytest.raises(toolchain.InstallFailed, match="no-such-program is not installed"):
        toolchain.run(["no-such-program"], tmp_path)
    with pytest.raises(toolchain.InstallFailed, match="ls no-such-file failed"):
        toolchain.run(["ls", "no-such-file"], tmp_path)


def test_an_example_that_ends_early_is_shown_with_its_errors(tmp_path: Path) -> None:
    """A test does not wait for lines that cannot come."""
    with pytest.raises(AssertionError, match=r"ended after 1 of 2 lines; .*\n.*what went wrong"):
        lines(["sh", "-c", "echo {}; echo what went wrong >&2"], 2, tmp_path)
