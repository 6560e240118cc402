"""The README's table of metrics is up to date."""

from __future__ import annotations

from tests.programs.docs import http_paths as readme


def test_the_readme_has_every_metric() -> None:
    """``make docs`` updates the table after a change of a metric."""
    assert readme.main(write=False) is None
