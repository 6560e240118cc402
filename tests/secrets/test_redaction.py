"""Secrets are replaced in every form, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.secrets.redaction import MAX_AGE_SECONDS, Redactor
from bridge.secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PASSWORD = 'pa/ss+w%rd "q" <&> ü='
#: Two tokens with the same beginning, like JSON Web Tokens of one issuer.
HEAD = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9."
OLD_TOKEN, NEW_TOKEN = HEAD + "old" * 50, HEAD + "new" * 30


def redacting(*values: str) -> Redactor:
    """Return a redactor that knows these values."""
    redactor = Redactor()
    for value in values:
        redactor.learn(value)
    return redactor


@pytest.mark.parametrize(
    "form",
    [
        str,
        quote,
        lambda value: quote(value, safe=""),
        lambda value: re.sub("%..", lambda escape: escape[0].lower(), quote(value, safe="")),
        quote_plus,
        html.escape,
        lambda value: json.dumps(value)[1:-1],
        lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
        lambda value: repr(value)[1:-1],
        lambda value: repr(value.encode())[2:-1],
        lambda value: value.encode().decode("latin-1"),
    ],
)
def test_a_secret_is_found_in_every_form(form: Callable[[str], str]) -> None:
    """Plain, in URLs and forms, in HTML, in JSON of any writer, in reprs, and in bytes decoded as Latin-1."""
    assert redacting(PASSWORD).redact(f"it is {form(PASSWORD)}!") == "it is ***!"


@given(st.binary(max_size=7), st.text(st.characters(exclude_categories=["Cs"]), min_size=9), st.binary(max_size=7))
def test_a_secret_is_found_within_base64(before: bytes, secret: str, after: bytes) -> None:
    """At any offset, as after the user name of HTTP Basic, the characters that only it determines are replaced."""
    text = base64.b64encode(before + secret.encode() + after).decode()
    redacted = redacting(secret).redact(text)
    assert "***" in redacted
    assert len(redacted) <= len("***") + 4 * (-(-len(before) // 3) + -(-len(after) // 3)) + 8


@pytest.mark.parametrize("length", [16, 17, 60, len(NEW_TOKEN) - 1])
def test_a_truncated_secret_is_replaced(length: int) -> None:
    """Servers and the bridge truncate long texts; the rest of a token is replaced up to where it ends."""
    redactor = redacting(OLD_TOKEN, NEW_TOKEN)
    assert redactor.redact(f"bad {NEW_TOKEN[:length]}... sorry") == "bad ***... sorry"


def test_secrets_with_the_same_beginning_are_replaced_whole() -> None:
    """No part of one token remains because another has the same beginning, in any order."""
    for redactor in (redacting(OLD_TOKEN, NEW_TOKEN), redacting(NEW_TOKEN, OLD_TOKEN)):
        assert redactor.redact(f"{NEW_TOKEN}, {OLD_TOKEN} and {NEW_TOKEN}") == "***, *** and ***"


@given(st.text(min_size=4, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_text_shows_a_secret(secret: str, before: str, after: str) -> None:
    """Whatever text is around it, the secret is replaced."""
    assume(secret not in "***" and "*" not in secret)
    redacted = redacting(secret).redact(before + secret + after)
    assert secret not in redacted
    assert "***" in redacted


def test_other_words_remain() -> None:
    """A short common beginning is no secret: logs must stay readable."""
    text = "postgres-pass and the post office"
    assert redacting("postgres-password-of-production").redact(text) == text


def test_the_latest_tokens_and_all_settings_are_remembered() -> None:
    """However many tokens are learned, the newest are known, and so are the secrets of the settings."""
    redactor = Redactor([Secret.fixed("PASSWORD", "fixed-one")])
    for number in range(200):
        redactor.learn(f"token-{number:03}")
    assert redactor.redact("token-199 and fixed-one") == "*** and ***"


def test_very_short_secrets_are_not_redacted() -> None:
    """Replacing a value of three characters would protect nothing and make logs unreadable."""
    redactor = Redactor([Secret.fixed("PASSWORD", "abc")])
    assert redactor.redact("the abc") == "the abc"


def test_a_secret_that_begins_like_another_is_redacted_whole() -> None:
    """The longer one is replaced completely."""
    redactor = Redactor([Secret.fixed("A", "token"), Secret.fixed("B", "token-long")])
    assert redactor.redact("my token-long and token") == "my *** and ***"


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_files_of_secrets_are_read_once_a_second(tmp_path: Path) -> None:
    """A flood of texts does not read them for each; what they hold is known a second later, and the old one as well."""
    clock, file = Clock(), tmp_path / "password"
    file.write_text("first-password")
    redactor = Redactor([Secret.in_file("PASSWORD", file)], clock=clock)
    text = "first-password second-password"
    assert redactor.redact(text) == "*** second-password"
    file.write_text("second-password")
    clock.now += MAX_AGE_SECONDS / 2
    assert redactor.redact(text) == "*** second-password"
    clock.now += MAX_AGE_SECONDS / 2
    assert redactor.redact(text) == "*** ***"
    file.write_text("third-password")
    assert redactor.redact("third-password") == "third-password"
    assert redactor.redact_document({"text": "third-password"}) == {"text": "***"}, "a log line reads them anew"


def test_a_file_that_cannot_be_read_for_a_while_is_tried_again(tmp_path: Path) -> None:
    """While a file is being replaced its last content remains a secret; the new one is found within a second."""
    clock, file, other = Clock(), tmp_path / "password", tmp_path / "other"
    file.write_text("first-password")
    other.write_text("other-password")
    redactor = Redactor([Secret.in_file("PASSWORD", file), Secret.in_file("OTHER", other)], clock=clock)
    assert redactor.redact("first-password") == "***"
    file.unlink()
    other.write_text("fourth-password")
    clock.now += MAX_AGE_SECONDS
    assert redactor.redact("first-password, fourth-password") == "***, ***"
    file.write_text("third-password")
    clock.now += MAX_AGE_SECONDS
    assert redactor.redact("first-password, third-password") == "***, ***"


def test_many_tokens_within_a_second_do_not_push_out_the_settings(tmp_path: Path) -> None:
    """However many tokens are learned between two looks at the settings, their secrets remain known."""
    file = tmp_path / "password"
    file.write_text("from-a-file")
    redactor = Redactor([Secret.fixed("PASSWORD", "fixed-one"), Secret.in_file("OTHER", file)], clock=Clock())
    assert redactor.redact("fixed-one") == "***"
    for number in range(200):
        redactor.learn(f"token-{number:03}")
    assert redactor.redact("token-199, token-000, fixed-one, from-a-file") == "***, token-000, ***, ***"
