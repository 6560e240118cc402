"""What the interpreter is: a figure is one of a version and of how it was compiled."""

from __future__ import annotations

import platform
import sysconfig
from typing import Final

#: Options of CPython's `configure`, and what they do to the speed (docs.python.org, "Configure Python").
_OPTIONS: Final = {"--enable-optimizations": "PGO", "--with-lto": "LTO"}


def python() -> str:
    """Return implementation, version and the options of its build.

    A distribution may compile with a profile without that option: Debian does, and links the interpreter statically.
    """
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    options = [f"{'with' if option in arguments else 'no'} {name}" for option, name in _OPTIONS.items()]
    return f"{platform.python_implementation()} {platform.python_version()} ({', '.join(options)} configured)"
