"""Build the compiled step: as a hook of hatchling for a wheel, and in place (``make compiled``).

It needs a C compiler and the headers of Python. Without them the wheel is one of Python alone, which works as well;
``COMPILED_STEP=required`` makes that an error, as in the image and in releases, and ``COMPILED_STEP=off`` does not
even try.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER: Final = Path(__file__).parent
#: By the stable ABI, so that one build serves every Python from 3.11 on.
MODULE: Final = "_lines.abi3.so"
SWITCH: Final = "COMPILED_STEP"
_FLAGS: Final = (
    *("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-fstack-protector-strong", "-DNDEBUG", "-g0"),
    *("-Wall", "-Wextra", "-Werror=implicit-function-declaration", "-shared"),
)
_EDITABLE: Final = "editable"


class NotBuilt(Exception):
    """The compiled step cannot be built here; the text says why."""


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]  # of hatchling's configuration, which is not looked at
    """The hook of hatchling: it adds the compiled step to a wheel, and builds it in place for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it, and make the wheel one for this platform; or say why not."""
        if self.target_name != "wheel":
            return
        self._directory = tempfile.TemporaryDirectory()  # until the wheel has been written
        target = FOLDER / MODULE if version == _EDITABLE else Path(self._directory.name) / MODULE
        if (why := try_to_build(target)) is not None:
            self.app.display_warning(f"without the compiled step: {why}")
        elif version != _EDITABLE:
            build_data["force_include"][str(target)] = str((FOLDER / MODULE).relative_to(self.root))
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def try_to_build(target: Path, *flags: str) -> str | None:
    """Build the compiled step; return why it was not, unless it is required."""
    switch = os.environ.get(SWITCH, "")
    if switch == "off":
        return f"{SWITCH}=off"
    try:
        build(target, *flags)
    except NotBuilt as error:
        if switch == "required":
            raise
        return str(error)
    return None


def build(target: Path, *flags: str) -> None:
    """Compile the sources with these flags besides the usual ones; raise ``NotBuilt``."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if sys.platform == "darwin":
        flags = (*flags, "-undefined", "dynamic_lookup")
    command = [
        *(*compiler, *_FLAGS, f'-DSOURCES="{fingerprint()}"', f"-ffile-prefix-map={FOLDER}=."),
        *(f"-I{sysconfig.get_path('include')}", *flags, str(FOLDER / "lines.c")),
    ]
    # Written beside the target, then renamed: a process may have the old one loaded.
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        done = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True, check=False)  # noqa: S603 - the machine's own compiler
    except OSError as error:
        raise NotBuilt(f"no C compiler: {error}") from error
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        raise NotBuilt(f"{compiler[0]} failed: {done.stderr.strip()[:2000]}")
    partial.replace(target)


def sources() -> list[Path]:
    """Return the files that it is compiled from."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in (".c", ".h"))


def fingerprint() -> str:
    """Return the hash of the sources, which the module has as ``SOURCES``."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources())).hexdigest()


def main() -> None:
    """Build it in place, and say how that went."""
    why = try_to_build(FOLDER / MODULE)
    if why is not None:
        (FOLDER / MODULE).unlink(missing_ok=True)  # one of older sources, or one that is not wanted
    sys.stderr.write("compiled step built\n" if why is None else f"without the compiled step: {why}\n")


if __name__ == "__main__":
    main()
