"""What the interpreter is: a figure is one of a version and of how it was compiled."""

from __future__ import annotations

import platform
import sysconfig
from typing import Final

#: Options of CPython's `configure`, and what they do to the speed (docs.python.org, "Configure Python").
_OPTIONS: Final = {"--enable-optimizations": "PGO", "--with-lto": "LTO"}
_OF_DISTRIBUTION: Final = "/usr"


def python() -> str:
    """Return implementation and version, and which of these its build was configured with.

    A distribution may compile with a profile without these options, as Debian does: then its own build is named.
    """
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    options = [name for option, name in _OPTIONS.items() if option in arguments]
    if not options and sysconfig.get_config_var("prefix") == _OF_DISTRIBUTION:
        options = ["the distribution's own build"]
    named = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{named} ({' and '.join(options) or 'neither PGO nor LTO'})"
