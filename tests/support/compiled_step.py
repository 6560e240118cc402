"""The compiled step as it is in this checkout."""

from __future__ import annotations

from bridge.pipeline.compiled import build


def stale_step() -> str:
    """Return what is wrong with the compiled step if it was built of other sources than there are now."""
    from bridge.pipeline.compiled import _lines  # noqa: PLC0415 - it may not exist

    return "" if build.fingerprint() == _lines.SOURCES else "it was built of other sources: run `make compiled`"
