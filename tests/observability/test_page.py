"""The page is one file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import re

from bridge.observability import page


def test_it_loads_nothing_from_other_origins() -> None:
    """No URL leads away from the bridge, and no handler, style or script is outside the hashed elements."""
    text = page.load().text
    assert set(re.findall(r'(?:src|href)="([^"]*)"', text)) == {
        "data:,",
        "#main",
        "status",
        "metrics",
        "readyz",
        "livez",
    }
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) == {"http://www.w3.org/2000/svg"}
    markup = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"\s(on\w+|style)=", markup)
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert sink not in text


def test_its_policy_allows_its_own_style_and_script() -> None:
    """The hashes are those of the page that is served."""
    loaded = page.load()
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", loaded.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in loaded.policy
    assert "connect-src 'self'" in loaded.policy
    assert "unsafe" not in loaded.policy
