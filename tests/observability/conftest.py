from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.observability.chromium import ChromiumMissing, browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.observability.chromium import Browser

#: Set to 1 where the page must be tested in a browser: its absence is then a failure.
REQUIRE_BROWSER = "TESTS_REQUIRE_BROWSER"


@pytest.fixture
async def window(tmp_path: Path) -> AsyncIterator[Browser]:
    """Open a window of a real browser with a fresh profile."""
    try:
        async with browser(tmp_path / "profile") as opened:
            yield opened
    except ChromiumMissing as missing:
        if os.environ.get(REQUIRE_BROWSER) == "1":
            pytest.fail(f"{REQUIRE_BROWSER}=1, but there is no browser: {missing}")
        pytest.skip(f"NOT TESTED IN A BROWSER: {missing}")
