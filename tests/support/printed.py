"""What ``aries-bridge tail`` prints, without a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.cli.tail import Printing

if TYPE_CHECKING:
    from bridge.cli.tail import Line
    from bridge.kafka.tail import Selection
    from bridge.settings import Settings


async def print_records(settings: Settings, selection: Selection, line: Line) -> None:
    """Print the selected records to the end; raises what the command reports."""
    printing = Printing(settings, selection, line)
    await printing.run()
    printing.conclude()
