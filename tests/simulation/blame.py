"""Whose an error is: the product's is a finding, the simulation's own finds nothing."""

from __future__ import annotations

import traceback
from pathlib import Path

_HERE = Path(__file__).parent.name


def is_ours(error: BaseException) -> bool:
    """Say whether an error was raised by a module of the simulation itself."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and Path(frames[-1].f_code.co_filename).parent.name == _HERE
