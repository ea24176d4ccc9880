"""Leaves a subscription alone for as long as Azure asks, within reason: being asked to wait is no failure.

One row per subscription says until when; it is written when Azure answers 429 and read before every
step that may write. Which of an operation's subscriptions was meant cannot be told from the answer,
so all of them are spared.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from shared import naming, retry
from shared.errors import NotYetError, TransientError
from shared.limits import Limits
from shared.models import Direction, StepRecord
from shared.state import Snapshot

THROTTLED = "throttled"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """Throttles by subscription."""

    limits: Limits
    identity_resource_group_id: str

    async def note(self, snapshot: Snapshot, error: TransientError, *, took: timedelta) -> NotYetError:
        """Tell everybody to leave the operation's subscriptions alone; the step waits."""
        interval_seconds = retry.WAITS[THROTTLED].interval_seconds
        seconds = retry.patience(error.retry_after_seconds, otherwise=interval_seconds)
        not_before = snapshot.read_at + took + timedelta(seconds=seconds)
        for subscription in self._subscriptions(snapshot):
            await self.limits.throttle(subscription, not_before=not_before)
        return NotYetError(THROTTLED, error.detail, retry_after_seconds=seconds)

    async def wait(self, snapshot: Snapshot, step: StepRecord) -> NotYetError | None:
        """The wait of a step that may write, ``None`` if nobody has asked for one."""
        if step.direction is Direction.CHECK:
            return None
        for subscription in self._subscriptions(snapshot):
            until = await self.limits.throttled_until(subscription)
            left_seconds = (until - snapshot.read_at).total_seconds() if until else 0.0
            if left_seconds > 0:
                return NotYetError(
                    THROTTLED, f"subscription {subscription}", retry_after_seconds=left_seconds
                )
        return None

    def _subscriptions(self, snapshot: Snapshot) -> tuple[str, ...]:
        spec = snapshot.connection.value.spec
        ids = (spec.target_id, spec.cluster_id, spec.identity_id or self.identity_resource_group_id)
        return tuple(sorted({naming.subscription_of(one) for one in ids if one}))
