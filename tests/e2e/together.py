"""Runs stories side by side: each is a test of its own, but their waits overlap.

A story is an async test that shares nothing with another but the sandbox. The first one that is awaited
starts all that were selected, a few at a time; each test then reports its own story's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

AT_A_TIME = 8
"""More would only queue up behind the two cores that the sandbox and the stories share."""

Story = Callable[[Any], Awaitable[None]]

_stories: dict[Story, Story] = {}
"""The story behind each test."""
_long: set[Story] = set()
_selected: list[Story] = []
_running: dict[Story, asyncio.Task[None]] = {}


def story(function: Story) -> Story:
    """Mark an async test ``(world)`` as one that may run beside others."""

    @functools.wraps(function)
    async def test(world: Any) -> None:
        _start(world)
        await _running[function]

    _stories[test] = function
    return test


def long_story(function: Story) -> Story:
    """Mark a story that mostly waits: it begins at once and takes no other's place."""
    _long.add(function)
    return story(function)


def is_story(test: Any) -> bool:
    """Say whether a test function is a story."""
    return test in _stories


def select(tests: Iterable[Any]) -> None:
    """Remember which stories this run is to tell."""
    _selected[:] = [_stories[test] for test in tests if test in _stories]


async def all_told() -> None:
    """Wait until no story is under way, whatever came of it: for a test that disturbs the others."""
    await asyncio.gather(*_running.values(), return_exceptions=True)


def _start(world: Any) -> None:
    if _running:
        return
    gate = asyncio.Semaphore(AT_A_TIME)

    async def tell(one: Story) -> None:
        async with contextlib.nullcontext() if one in _long else gate:
            await one(world)

    for one in _selected:
        _running[one] = asyncio.create_task(tell(one))
