"""``python -m sandbox classify FILE...``: what the product would make of recorded events.

Needs nothing running. Reads the files with the product's own parser, so that the two cannot differ, and
prints one JSON line for each event.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from shared import events, naming
from shared.catalogue import catalogue

FILE_BYTES = 64 * 1024 * 1024
"""Largest array accepted: a full batch of events with long claims. The product itself takes less at once."""
UNREADABLE_EXIT_CODE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``classify``."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="an event, a batch or a queue message's body"
    )
    parser.add_argument(
        "--subscriptions",
        type=_guids,
        metavar="ID,...",
        help="believe events of these subscriptions only (default: of any)",
    )
    parser.add_argument("--tenant", default="", metavar="ID", help="reject events that name another tenant")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each event of each file.

    Returns:
        Exit code: 0, or 2 if a file could not be opened (it has its line all the same).
    """
    code = 0
    for file in arguments.files:
        try:
            body = _read(Path(file))
        except (OSError, ValueError):
            code = UNREADABLE_EXIT_CODE
            unreadable = events.EventDecision(
                index=0, decision=events.Decision.REJECTED, reason="unreadable-file"
            )
            print(json.dumps(line(file, unreadable)))
            continue
        for decision in decide(body, arguments.subscriptions, arguments.tenant):
            print(json.dumps(line(file, decision)))
    return code


def decide(body: bytes, subscriptions: frozenset[str] | None, tenant_id: str) -> list[events.EventDecision]:
    """The product's own decisions about a body; ``None`` and an empty tenant accept any."""
    watched = catalogue().watched_types()
    return events.parse(
        body, subscriptions=subscriptions, watched=watched, tenant_id=tenant_id, batch_bytes=FILE_BYTES
    )


def line(file: str, decided: events.EventDecision) -> dict[str, Any]:
    """What is printed of one decision.

    A linker that was written is looked at by the product; it is no deletion, so there is nothing to prune.
    """
    observed = decided.decision is events.Decision.OBSERVE
    resource_id = decided.resource_id or _named(decided.subject)
    return {
        "file": file,
        "index": decided.index,
        "decision": str(events.Decision.IGNORED if observed else decided.decision),
        "resourceId": resource_id,
        "resourceType": decided.resource_type or naming.type_of(resource_id),
        "reason": decided.reason,
    }


def _named(subject: str) -> str:
    """The id that an event names although it does not count, if it is a sound one; for people only."""
    folded = naming.fold_id(subject)
    sound = naming.is_guid(naming.subscription_of(folded)) and naming.type_of(folded)
    return folded if sound and not set(folded) & set("?%") and ".." not in folded else ""


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(FILE_BYTES + 1)  # one more: enough to see that a file is too large


def _guids(text: str) -> frozenset[str]:
    found = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    if not found or not all(map(naming.is_guid, found)):
        raise argparse.ArgumentTypeError("subscription ids are GUIDs, separated by commas")
    return found
