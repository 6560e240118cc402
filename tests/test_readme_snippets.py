"""What the READMEs show to be pasted: shell snippets are valid, and the commands in them exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from typer.testing import CliRunner

from bridge.cli.commands import app
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

READMES: Final = ("README.md", "avro/README.md", "helm/README.md", "CONTRIBUTING.md")


def snippets(language: str) -> Iterator[tuple[str, str]]:
    """Yield the file and the text of each snippet in a language."""
    for name in READMES:
        for text in re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL):
            yield name, text


def commands(program: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each call of a program, without what the shell makes of the rest of its line."""
    lines = [line for _, text in snippets("bash") for line in text.splitlines()]
    lines += [line[2:] for _, text in snippets("console") for line in text.splitlines() if line.startswith("$ ")]
    for line in lines:
        if (call := line.strip()).startswith(f"{program} "):
            yield tuple(shlex.split(re.split(r"[>|;&]", call)[0], comments=True)[1:])


@pytest.mark.parametrize("text", [text for _, text in snippets("bash")])
def test_a_shell_snippet_is_valid(text: str) -> None:
    """Bash accepts it, and nothing in it is a prompt or output."""
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert not [line for line in text.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("arguments", sorted(set(commands("aries-bridge"))), ids=" ".join)
def test_a_command_exists(arguments: tuple[str, ...]) -> None:
    """Its subcommand and options are known."""
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0, result.output


def test_make_targets_exist() -> None:
    """Each target of make that is shown is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {name for arguments in commands("make") for name in arguments if re.fullmatch("[a-z]+", name)}
    assert targets >= {"dev", "test"}
    assert not [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)]
