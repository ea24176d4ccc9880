"""Nothing of an overtaken operation is still on its way.

A run whose operation was superseded cannot record anything any more, but a write that it has
already sent may land. Its lease bounds how long it may still send; one more lease bounds how long a
sent write may take to land, which is what ``verify_gone`` waits for.
"""

from __future__ import annotations

from datetime import timedelta

from shared.errors import NotYetError
from shared.models import Done, Finding
from shared.steps.base import SETTLED_AT, StepContext

LOOK_AGAIN_SECONDS = 3.0
"""A run that ends gives its lease back, mostly long before it would expire."""


class Quiesce:
    """No step of an overtaken operation holds a live lease."""

    name = "quiesce"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Nothing to look at."""
        return []

    async def apply(self, ctx: StepContext) -> Done:
        """Wait for the leases of overtaken operations.

        Raises:
            NotYetError: ``quiesce``, until each lease was given back or has expired.
        """
        left = [await ctx.recorder.lease_left_seconds(overtaken) for overtaken in ctx.operation.overtakes]
        if any(left):
            seconds = min(max(left) + 0.5, LOOK_AGAIN_SECONDS)
            raise NotYetError("quiesce", "an overtaken step is still running", seconds=seconds)
        if not ctx.operation.overtakes:
            return Done()
        settled_at = ctx.now + timedelta(seconds=ctx.rules.lease_seconds)
        return Done(outputs={SETTLED_AT: settled_at.isoformat()})

    async def revert(self, ctx: StepContext) -> Done:
        """Nothing was made."""
        return Done()
