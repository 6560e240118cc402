"""All causes of an error are named once, whatever shape they have; the exit code is that of our own errors."""

from __future__ import annotations

from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from bridge.errors import CredentialsRefused, RecordsUndelivered
from bridge.observability.unexpected_errors import MAX_CAUSES, causes, report_fatal


class Unprintable(Exception):
    """An error whose text is an error."""

    def __str__(self) -> str:
        raise ValueError("no text")


def fail_with(error: Exception) -> NoReturn:
    """Raise an error."""
    raise error


def chained() -> Exception:
    """Return an error whose cause was raised during another one, and whose members have causes, too."""
    try:
        try:
            fail_with(OSError("first"))
        except OSError:
            fail_with(KeyError("second"))
    except KeyError as second:
        member = TypeError("member")
        member.__cause__ = second
        return ExceptionGroup("outer", [member, ExceptionGroup("inner", [Unprintable(), ValueError()]), member])


def test_members_causes_and_contexts_are_each_named_once() -> None:
    """Groups themselves are not listed, and an error without a usable text is shown by its type."""
    assert causes(chained()) == [
        "TypeError: member",
        "KeyError: 'second'",
        "OSError: first",
        "Unprintable: its text cannot be shown (ValueError)",
        "ValueError",
    ]
    assert causes(None) == []


def test_cyclic_causes_are_listed_once() -> None:
    """A cycle of causes and a very long chain are cut."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert causes(one) == ["ValueError: one", "ValueError: other"]
    last = ValueError("0")
    for number in range(1000):
        following = ValueError(str(number))
        following.__cause__, last = last, following
    assert len(causes(last)) == MAX_CAUSES


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (RecordsUndelivered(3), 4, False),
        (ExceptionGroup("all", [CredentialsRefused(3, "no"), RecordsUndelivered(3)]), 3, False),
        (ExceptionGroup("all", [CredentialsRefused(3, "no"), TypeError("bug")]), 1, True),
        (chained(), 1, True),
        (SystemExit(0), 1, True),
    ],
)
def test_only_errors_of_the_bridge_have_codes_and_need_no_traceback(
    error: BaseException, code: int, *, expected: bool
) -> None:
    """An operator can fix these; any other error is a defect, also in a group with them."""
    with capture_logs() as logs:
        assert report_fatal(error) == code
    [line] = logs
    assert (line["event"], line["log_level"], line["exit_code"]) == ("fatal error", "critical", code)
    assert ("exc_info" in line) == ("causes" in line) == expected
