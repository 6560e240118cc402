"""With the compiled step and without it, the same lines come to the same, whatever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.topics import Topic
from tests.pipeline.compiled.lines import frames, lines
from tests.pipeline.compiled.ways import Both

if TYPE_CHECKING:
    from tests.pipeline.compiled.ways import DialectName

pytestmark = pytest.mark.usefixtures("compiled_step")
each_dialect = pytest.mark.parametrize("dialect", ["envelope", "action"])


@each_dialect
@settings(max_examples=300)
@given(data=st.data())
def test_any_frames_come_to_the_same(dialect: DialectName, data: st.DataObject) -> None:
    """Records, accounts, bad and unknown fields, numbers, gaps and the session are equal."""
    with Both.used_again(dialect) as both:
        for _ in range(data.draw(st.integers(1, 3))):
            both.receive(data.draw(frames(dialect)))
