"""The wheel: the package and the schemas, without what is only read in the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_the_wheel_has_the_schemas_without_the_examples(tmp_path: Path) -> None:
    """Every schema is installed beside the package, which reads it there; programs of consumers are not."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"bridge/avro/{path.name}" for path in (ROOT / "avro").glob("*.avsc")} <= names
    assert "bridge/cli/main.py" in names
    assert not [name for name in names if "examples" in name or name.startswith("avro/")]
