"""Where things are: the checkout, the package, and what tests download or build once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "bridge"


def cache() -> Path:
    """Return the directory for downloads and builds, such as Kafka's jars and Helm."""
    xdg = os.environ.get("XDG_CACHE_HOME")
    return Path(xdg) / "aries-bridge" if xdg else ROOT / ".cache"
