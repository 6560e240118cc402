"""Which proxy of the environment is used for a URL."""

from __future__ import annotations

import pytest
from yarl import URL

from bridge.errors import ProxyUnusable
from bridge.network.proxies import proxy_for

PROXY = "http://proxy.example:3128"


def used_for(url: str) -> str | None:
    """Return the address of the proxy for a URL."""
    proxy = proxy_for(url)
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("variable", "proxied"),
    [
        ("HTTPS_PROXY", {"https", "wss", "ws"}),
        ("https_proxy", {"https", "wss", "ws"}),
        ("HTTP_PROXY", {"http", "ws"}),
        ("http_proxy", {"http", "ws"}),
        ("ALL_PROXY", {"http", "https", "ws", "wss"}),
        ("all_proxy", {"http", "https", "ws", "wss"}),
        ("WSS_PROXY", {"wss"}),
        ("FTP_PROXY", set()),
    ],
)
def test_the_scheme_decides_which_variables_count(
    variable: str, proxied: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A WebSocket uses the proxy for https, as it needs a tunnel; ALL_PROXY is for every scheme."""
    monkeypatch.setenv(variable, PROXY)
    schemes = ("http", "https", "ws", "wss")
    assert {scheme for scheme in schemes if used_for(f"{scheme}://aries.example/")} == proxied


def test_lower_case_and_the_scheme_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with curl, a name in lower case hides the one in capitals, also if it is empty."""
    monkeypatch.setenv("ALL_PROXY", "http://all.example:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://upper.example:2")
    assert used_for("https://aries.example/") == "upper.example:2"
    monkeypatch.setenv("https_proxy", "http://lower.example:3")
    assert used_for("https://aries.example/") == "lower.example:3"
    monkeypatch.setenv("https_proxy", "")
    assert used_for("https://aries.example/") == "all.example:1"


@pytest.mark.parametrize(
    "host",
    [*("localhost", "LOCALHOST.", "sub.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]")],
)
@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_loopback_is_never_proxied(scheme: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says, and even if its proxy could not be used."""
    for variable in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "nonsense://")
    assert used_for(f"{scheme}://{host}:8080/") is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "exempt"),
    [
        ("*", "aries.example", True),
        ("other.example, aries.example", "aries.example", True),
        ("example", "aries.example", True),
        (".example", "aries.example", True),
        ("*.example", "aries.example", True),
        ("ARIES.Example", "aries.example", True),
        ("ries.example", "aries.example", False),
        ("aries.example:443", "aries.example", True),
        ("aries.example:8443", "aries.example", False),
        ("aries.example:8443", "aries.example:8443", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("fd00::/8", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]:8443", True),
        ("[fd00::1]:8443", "[fd00::1]:8443", True),
        ("10.0.0.0/8", "10.example", False),
        (", ,", "aries.example", False),
        ("", "aries.example", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, exempt: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a column
    """It lists names with everything below them, addresses, networks, and each of them with a port."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (used_for(f"wss://{host}/") is None) is exempt
    assert (used_for(f"https://{host}/") is None) is exempt


@pytest.mark.parametrize(
    ("value", "url", "address"),
    [
        (PROXY, f"{PROXY}/", "proxy.example:3128"),
        ("proxy.example:3128", f"{PROXY}/", "proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example/", "proxy.example:443"),
        ("http://[fd00::1]:3128/", "http://[fd00::1]:3128/", "[fd00::1]:3128"),
        ("http://user:p%40s%20s@proxy.example:3128", "http://user:p%40s%20s@proxy.example:3128/", "proxy.example:3128"),
        ("http://user@proxy.example:3128", "http://user:@proxy.example:3128/", "proxy.example:3128"),
        ("http://bücher.example:3128", "http://xn--bcher-kva.example:3128/", "xn--bcher-kva.example:3128"),
    ],
)
def test_forms_of_a_proxy(value: str, url: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a scheme it is http; its text is host and port, without credentials."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    proxy = proxy_for("https://aries.example/")
    assert proxy is not None
    assert (URL(proxy.url), str(proxy), proxy.variable) == (URL(url), address, "HTTPS_PROXY")
    assert "user" not in f"{proxy} {proxy!r}"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("socks5h://user:secret-word@proxy.example:1", "SOCKS is not supported"),
        ("socks4://proxy.example", "SOCKS is not supported"),
        ("ftp://user:secret-word@proxy.example", "a ftp:// URL"),
        ("http://user:secret-word@proxy.example:99999", "not a valid URL"),
        ("http://user:secret-word@proxy.example:abc", "not a valid URL"),
        ("http://user:secret/word@proxy.example:1", "not a valid URL"),
        ("http://user:secret#word@proxy.example:1", "not a valid URL"),
        ("http://user:secret-word@[fd00::1:1", "not a valid URL"),
        ("http://proxy.example:1/path", "not a valid URL"),
        ("http://user:secret-word@", "not a valid URL"),
        ("http://", "not a valid URL"),
        ("http://secret word.example:1", "not a valid URL"),
    ],
)
def test_a_proxy_that_cannot_be_used(value: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, the host and what to do, and nothing of it shows the password."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ProxyUnusable) as raised:
        proxy_for("wss://aries.example/v1/market/ws")
    text = str(raised.value)
    assert problem in text
    assert "Set HTTPS_PROXY to http://host:port, or exempt aries.example with NO_PROXY." in text
    assert "secret" not in f"{raised.value!r} {text} {raised.value.__cause__!r}"
