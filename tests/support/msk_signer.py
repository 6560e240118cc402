"""A package with the name of AWS's signer, for what only asks whether it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PACKAGE = "aws_msk_iam_sasl_signer"


def install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the package importable until the test ends, before any other; return its directory."""
    package = directory / PACKAGE
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(directory)
    return package
