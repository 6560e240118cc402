"""Secrets are replaced in whatever form they stand, and nothing else is."""

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

from bridge.secrets.redaction import Redactor
from bridge.secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = 'pa/ss+w%rd "q" <&> ü='
#: Two tokens with the same head, as two JSON Web Tokens of one issuer have.
HEAD = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9."
OLD_TOKEN, NEW_TOKEN = HEAD + "old" * 50, HEAD + "new" * 30


def redacting(*values: str) -> Redactor:
    """Return a redactor that knows these."""
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
    """Plain, in URLs and forms, in HTML, in JSON by any writer, in reprs, and in bytes read as Latin-1."""
    assert redacting(PASSWORD).redact(f"it is {form(PASSWORD)}!") == "it is ***!"


@given(st.binary(max_size=7), st.text(st.characters(exclude_categories=["Cs"]), min_size=9), st.binary(max_size=7))
def test_a_secret_is_found_within_base64(before: bytes, secret: str, after: bytes) -> None:
    """Wherever it begins, as after a user's name in HTTP Basic, all that only it decides is replaced."""
    text = base64.b64encode(before + secret.encode() + after).decode()
    redacted = redacting(secret).redact(text)
    assert "***" in redacted
    assert len(redacted) <= len("***") + 4 * (-(-len(before) // 3) + -(-len(after) // 3)) + 8


@pytest.mark.parametrize("length", [16, 17, 60, len(NEW_TOKEN) - 1])
def test_what_is_left_of_a_secret_that_was_cut_is_replaced(length: int) -> None:
    """Servers and we ourselves cut long texts; what remains of a token there is replaced up to where it was cut."""
    redactor = redacting(OLD_TOKEN, NEW_TOKEN)
    assert redactor.redact(f"bad {NEW_TOKEN[:length]}... sorry") == "bad ***... sorry"


def test_of_secrets_with_the_same_beginning_the_right_one_is_replaced_whole() -> None:
    """No tail of one token stays because another begins alike, in whatever order they were learnt."""
    for redactor in (redacting(OLD_TOKEN, NEW_TOKEN), redacting(NEW_TOKEN, OLD_TOKEN)):
        assert redactor.redact(f"{NEW_TOKEN}, {OLD_TOKEN} and {NEW_TOKEN}") == "***, *** and ***"


@given(st.text(min_size=4, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_text_shows_a_secret(secret: str, before: str, after: str) -> None:
    """Whatever stands around it, the secret is gone, and what stood before it is still there."""
    assume(secret not in "***" and "*" not in secret)
    redacted = redacting(secret).redact(before + secret + after)
    assert secret not in redacted
    assert "***" in redacted


def test_other_words_stay() -> None:
    """A beginning too short to tell is no secret: logs must stay readable."""
    text = "postgres-pass and the post office"
    assert redacting("postgres-password-of-production").redact(text) == text


def test_the_latest_secrets_are_remembered_and_fixed_ones_never_forgotten() -> None:
    """However many tokens come and go, the newest are known, and so is what the settings hold."""
    redactor = Redactor([Secret.fixed("PASSWORD", "fixed-one")])
    for number in range(200):
        redactor.learn(f"token-{number:03}")
    assert redactor.redact("token-199 and fixed-one") == "*** and ***"


def test_very_short_secrets_do_not_black_out_the_log() -> None:
    """A word of less than four letters is no secret that redaction could keep."""
    redactor = Redactor([Secret.fixed("PASSWORD", "abc")])
    assert redactor.redact("the abc") == "the abc"


def test_a_secret_within_another_is_redacted_whole() -> None:
    """Where one secret begins like another, the longer one is replaced as a whole."""
    redactor = Redactor([Secret.fixed("A", "token"), Secret.fixed("B", "token-long")])
    assert redactor.redact("my token-long and token") == "my *** and ***"
