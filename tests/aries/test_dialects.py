"""What holds for both dialects, whatever is received."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given

from bridge.aries.action import Action
from bridge.aries.envelope import Envelope
from bridge.aries.events import Event, Update
from bridge.aries.lines import parse
from bridge.errors import BadLine
from tests.aries.documents import DOCUMENTS

if TYPE_CHECKING:
    from bridge.aries.dialect import Dialect


@pytest.mark.parametrize("dialect", [Action(), Envelope()], ids=lambda dialect: str(dialect.name))
@given(document=DOCUMENTS)
def test_any_document_is_an_event_or_a_bad_line(dialect: Dialect, document: object) -> None:
    """Whatever a line holds, reading it gives an event or a BadLine with a reason, nothing else."""
    found = read(dialect, json.dumps(document).encode())
    if isinstance(found, BadLine):
        assert found.reason
        assert str(found)
    else:
        assert isinstance(found, get_args(Event))
        if isinstance(found, Update):
            assert found.symbol.encode()


def read(dialect: Dialect, line: bytes) -> Event | BadLine:
    try:
        return dialect.read(parse(line))
    except BadLine as error:
        return error
