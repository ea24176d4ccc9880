"""What is said of slices: a line for each run, one of what nobody foresaw, one of who saw too little.

A sweep comes to its end whatever its slices could not look at, so that one cluster stops no other: that it
saw too little is told here, and an alert reads it (``infra/queries/sweep-incomplete.kql``).
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from shared.errors import MooringError, TransientError
from shared.logs import bind
from shared.sweeping.ledger import Ledger
from shared.sweeping.sweeps import Slice

EXPECTED = frozenset(
    {
        "cluster-gone",
        "namespaces-not-listed",
        "not-in-policy",
        "objects-not-listed",
        "orphan-changed",
        "orphan-gone",
        "orphan-owned",
        "orphan-protected",
        "policy-denied",
        "stopped",
        "unreachable",
    }
)
"""Details of which no line is written: what is meant to be so, such as a cluster in which ``role-sweep.yaml``
is not bound, what is a finding itself, and a cluster without an answer, of which ``cluster-silent`` tells."""
FRAMES = 4


def ran(
    logger: logging.Logger, one: Slice, ledger: Ledger, error: MooringError | None, *, done: bool
) -> None:
    """A run is over."""
    bind(logger).info(
        "slice-ran",
        extra={
            "sweep": one.sweep_id,
            "slice": one.slice_id,
            "finished": done,
            "code": error.code if error else "",
            "cluster": _place(one) if one.kind == "cluster" else "",
            "details": ",".join(ledger.details),
        },
    )


def unexpected(logger: logging.Logger, one: Slice, error: Exception) -> TransientError:
    """A run raised what no client should let out: its type and its place, for its text may be anybody's.

    Returns:
        What the slice goes on with: it is tried again, a few times.
    """
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    bind(logger).error(
        "slice-unexpected",
        extra={
            "sweep": one.sweep_id,
            "slice": one.slice_id,
            "error": type(error).__name__,
            "at": ">".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames),
        },
    )
    return TransientError("unexpected", type(error).__name__)


def ended(logger: logging.Logger, one: Slice) -> None:
    """A slice is over; nothing is said of one that has seen all that it was meant to see."""
    missed = [detail for detail in one.details if detail not in EXPECTED]
    if missed:
        bind(logger).warning(
            "slice-incomplete",
            extra={
                "sweep": one.sweep_id,
                "slice": one.slice_id,
                "place": _place(one),
                "details": ",".join(missed),
            },
        )


def _place(one: Slice) -> str:
    """A cluster's name, a subscription's GUID, or the kind of a slice that looks at neither."""
    return one.what.rpartition("/")[2] or one.kind
