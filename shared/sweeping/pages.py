"""Goes through the connections of a cluster or subscription, a page at a time and each connection once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby

from shared.errors import MooringError, PermanentError, TransientError, UnreadableRowError
from shared.inventory import Entry, Inventory
from shared.sweeping.ledger import Ledger, side_by_side
from shared.throttling import THROTTLED

PAGE = 200
Look = Callable[[Sequence[Entry]], Awaitable[None]]
"""Looks at one connection; given what it relies on within the scope, of all its lives."""


async def each_connection(
    inventory: Inventory, ledger: Ledger, scope: str, look: Look, *, after: str, ended: bool = False
) -> bool:
    """Look at every connection of a scope, several side by side; the cursor moves with each page.

    Args:
        inventory: what hangs on what.
        ledger: the run; its cursor keeps its stage.
        scope: cluster or subscription.
        look: what to do with each.
        after: the key behind which to go on.
        ended: those that have ended instead of the present ones.

    Returns:
        False if the time was up before the end; at least one page was done.
    """
    stage = ledger.cursor.partition(":")[0]
    passing: list[TransientError] = []

    async def one(entries: Sequence[Entry]) -> None:
        try:
            await look(entries)
        except (PermanentError, UnreadableRowError) as error:
            # What is wrong with one connection must not keep those behind it from being looked at.
            _left_out(ledger, error)
        except TransientError as error:
            if error.code == THROTTLED or not ledger.last_try:
                raise
            passing.append(error)

    async for page, last in _pages(inventory, scope, after=after, ended=ended):
        passing.clear()
        await side_by_side(one, page)
        if len(passing) == len(page):
            raise passing[0]  # it is not one connection's fault
        for error in passing:
            _left_out(ledger, error)
        ledger.move(stage, last)
        if ledger.over():
            return False
    return True


def _left_out(ledger: Ledger, error: MooringError) -> None:
    ledger.note(error.code)
    ledger.count("connectionsFailed")


async def _pages(
    inventory: Inventory, scope: str, *, after: str, ended: bool
) -> AsyncIterator[tuple[list[Sequence[Entry]], str]]:
    """Entries by connection with the last key of the page; a connection is never on two pages."""
    limit = PAGE
    while True:
        rows = await inventory.page(scope, after=after, limit=limit, ended=ended)
        groups = [list(group) for _, group in groupby(rows, lambda row: row[1].connection_id)]
        if len(rows) == limit and len(groups) == 1:
            limit *= 2  # more lives of one connection than a page holds
            continue
        more = len(rows) == limit
        if more:
            groups.pop()  # it may go on behind the page
        if not groups:
            return
        after, limit = groups[-1][-1][0], PAGE
        yield [[entry for _, entry in group] for group in groups], after
        if not more:
            return
