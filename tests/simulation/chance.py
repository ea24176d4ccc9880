"""Chance that can be had again: a seed decides all of a run."""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import uuid
from collections.abc import Iterator
from typing import Any

from shared import engine as engine_module
from shared import limits, recording, records, state, users
from shared.sweeping import slices as slices_module
from shared.sweeping import sweeps as sweeps_module
from tests.simulation.records import Records


def seeded(seed: int) -> random.Random:
    """Chance that can be had again."""
    return random.Random(seed)  # noqa: S311 - nothing secret depends on it


def apart(seed: int, what: str) -> random.Random:
    """Chance of one part of a run alone: what it draws, or stops drawing, changes nothing else of the run."""
    return random.Random(f"{seed} {what}")  # noqa: S311 - nothing secret depends on it


@contextlib.contextmanager
def repeatable(names: random.Random, rows: Records, *, faithful: bool) -> Iterator[None]:
    """Make what the product draws by chance depend on the seed, and reading rows quick."""

    class Names:
        """``uuid`` of the engine."""

        @staticmethod
        def uuid4() -> uuid.UUID:
            return uuid.UUID(int=names.getrandbits(128), version=4)

    named = (engine_module, slices_module, sweeps_module)
    replaced: list[tuple[Any, str, Any]] = [(module, "uuid", Names) for module in named]
    replaced += [(module, "parse", rows.quick_parse) for module in (state, users, limits, records, recording)]
    if not faithful:
        replaced += [(module, "columns", rows.quick_columns) for module in (state, users, limits, records)]
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    logger = logging.getLogger("mooring")
    level, collecting = logger.level, gc.isenabled()
    logger.setLevel(logging.CRITICAL + 1)
    gc.disable()
    try:
        for module, name, value in replaced:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        logger.setLevel(level)
        if collecting:
            gc.enable()
