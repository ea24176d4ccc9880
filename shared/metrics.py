"""Every metric: what it counts, its unit and its attributes. Attributes have few values, never an id of ours.

``docs/observability.md`` shows this table; a test holds the two together.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum


class Instrument(StrEnum):
    """How values of a metric are taken together."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    """The last value of a minute; nothing is told in a minute without one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; ``unit`` is UCUM's, as OpenTelemetry wants it: ``s`` seconds, ``1`` a share or a number."""

    instrument: Instrument
    about: str
    attributes: tuple[str, ...] = ()
    unit: str = "1"


_C, _H, _G = Instrument.COUNTER, Instrument.HISTOGRAM, Instrument.GAUGE

METRICS = {
    "requests_total": Metric(
        instrument=_C,
        attributes=("kind", "result"),
        about="requests that were decided, by what became of them",
    ),
    "policy_denied_total": Metric(instrument=_C, about="requests that the policy does not allow"),
    "step_seconds": Metric(
        instrument=_H, unit="s", attributes=("step",), about="one run of a step, however it ended"
    ),
    "propagation_wait_seconds": Metric(
        instrument=_H,
        unit="s",
        attributes=("kind",),
        about="how long a step waited, by its reason, once it goes on",
    ),
    "time_to_usable_seconds": Metric(
        instrument=_H, unit="s", about="from a create's taking in to its good end; with proof, if that is on"
    ),
    "time_to_pruned_seconds": Metric(
        instrument=_H,
        unit="s",
        about="from the deletion's own time to the end of the prune that removed something",
    ),
    "prune_total": Metric(
        instrument=_C, attributes=("result",), about="prunes that ended: `pruned`, or the code of another end"
    ),
    "event_lag_seconds": Metric(
        instrument=_H, unit="s", about="from an event's own time to its taking in, if it opens a prune"
    ),
    "arm_throttled_total": Metric(instrument=_C, about="answers 429 of Resource Manager"),
    "k8s_unreachable": Metric(
        instrument=_C,
        attributes=("cluster",),
        about="calls that no API server answered, by the cluster's name",
    ),
    "fic_used_ratio": Metric(
        instrument=_H,
        attributes=("bucket",),
        about="share of 20 federated credentials that an identity has, whenever they are listed",
    ),
    "role_assignments_used_ratio": Metric(
        instrument=_H,
        about="share of 4000 role assignments that a subscription has, whenever they are listed",
    ),
    "poison_messages": Metric(
        instrument=_C, attributes=("queue",), about="messages that came out of a poison queue"
    ),
    "sweep_age_seconds": Metric(
        instrument=_G, unit="s", about="since the end of the last sweep that came to one"
    ),
    "step_late_seconds": Metric(
        instrument=_G, unit="s", about="how long the oldest step that is due has not been taken"
    ),
    "message_late_seconds": Metric(
        instrument=_G, unit="s", about="since the oldest request or event that nobody has taken yet was sent"
    ),
    "connections": Metric(instrument=_G, attributes=("state",), about="connections on record"),
    "orphans": Metric(instrument=_G, attributes=("kind", "state"), about="orphans on record"),
}
"""By name."""

BUCKETS = ((0.5, "to-50"), (0.75, "to-75"), (0.9, "to-90"), (1.0, "to-100"))
"""Shares in percent, as an attribute: a share beyond all is ``full``."""


def bucket_of(ratio: float) -> str:
    """Name of the first bucket that a share fits into."""
    return next((name for most, name in BUCKETS if ratio < most), "full")
