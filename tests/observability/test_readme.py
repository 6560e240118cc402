"""The table of metrics in the README is that of the metrics."""

from __future__ import annotations

from tests.programs.docs import http_paths as readme


def test_the_readme_has_every_metric() -> None:
    """Whoever adds a metric brings the table up to date."""
    assert readme.main(write=False) is None
