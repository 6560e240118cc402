"""The compiled step from usual lines to queued records, where it was built: optional, and equal to Python's way.

It takes a line only if that is plain in every way; all others are left to ``bridge.pipeline.ingest``, which alone knows
what an odd value means. ``lines.c`` is the step; what records look like is in its plan (``plan.py``), made from the
tables and schemas of Python's own encoder. ``build.py`` builds it, with a wheel or in place.
"""

from functools import cache
from importlib import import_module


@cache
def is_built() -> bool:
    """Return whether the compiled step was built for this Python and this system."""
    try:
        import_module("bridge.pipeline.compiled._lines")
    except ImportError:
        return False
    return True
