"""The generated parts of the README."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

from bridge.cli.commands import app
from bridge.settings import table as settings_table
from tests.programs.docs import settings_table as readme
from tests.support.generated import MarkersMissing

if TYPE_CHECKING:
    from pathlib import Path


def test_the_readme_has_the_table_of_settings() -> None:
    """The README's table is the one that the settings make; `make docs` brings it up to date."""
    text = readme.README.read_text(encoding="utf-8")
    assert text == readme.generated(text)
    assert readme.main(["--check"]) is None


def test_only_what_is_between_the_markers_is_generated() -> None:
    """The text around the table stays; an old table goes."""
    old = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    new = readme.generated(old)
    assert new == f"before\n{readme.BEGIN}\n{settings_table.markdown()}\n{readme.END}\nafter\n"
    assert readme.generated(new) == new


@pytest.mark.parametrize("text", ["", f"{readme.BEGIN}\n", f"{readme.END}\n{readme.BEGIN}\n"])
def test_missing_markers_are_an_error(text: str) -> None:
    """Without both markers there is no place for the table."""
    with pytest.raises(MarkersMissing, match="settings:begin"):
        readme.generated(text)


def test_write_and_check_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``--write`` has written, ``--check`` accepts; before, it does not."""
    path = tmp_path / "README.md"
    path.write_text(f"{readme.BEGIN}\n{readme.END}\n", encoding="utf-8")
    monkeypatch.setattr(readme, "README", path)
    assert "make docs" in str(readme.main([]))
    assert readme.main(["--write"]) is None
    assert readme.main(["--check"]) is None
    path.write_text("", encoding="utf-8")
    assert "settings:begin" in str(readme.main(["--write"]))


def test_the_readme_has_every_command() -> None:
    """A new command gets a row in the table of commands, and nothing else has one."""
    table = readme.README.read_text(encoding="utf-8").partition("\n### Commands\n")[2].partition("\n#")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(get_command(app).commands)  # type: ignore[attr-defined]  # a group
