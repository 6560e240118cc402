"""The status page, and the Content-Security-Policy that allows its own style and script and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """The page's text and its Content-Security-Policy (CSP Level 3, hashes of inline elements)."""

    text: str
    policy: str


def load() -> Page:
    """Return the page from this package's ``page.html``."""
    text = resources.files("bridge.observability").joinpath("page.html").read_text(encoding="utf-8")
    hashes = {element: f"'sha256-{_digest(content)}'" for element, content in _INLINE.findall(text)}
    policy = (
        "default-src 'none'",
        f"script-src {hashes['script']}",
        f"style-src {hashes['style']}",
        "img-src data:",  # the icon in the browser's tab
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
    return Page(text, "; ".join(policy))


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
