"""One sandbox for all stories, and the order in which tests run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.contract import Contract
from tests.e2e import together
from tests.e2e.sandbox_process import running_sandbox
from tests.e2e.world import World

HERE = Path(__file__).parent
LAST = ("test_sweeps.py", "test_report_mode.py", "test_two_hosts.py", "test_chaos.py", "test_real_cluster.py")
"""These start sandboxes of their own."""
RECORD = "test_rights.py"
"""This reads the record of all the calls that the others have made."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stories first, then what disturbs others, then what needs a sandbox of its own."""
    mine = [item for item in items if HERE in item.path.parents]
    ranked = iter(sorted(mine, key=_rank))
    items[:] = [next(ranked) if HERE in item.path.parents else item for item in items]


def pytest_collection_finish(session: pytest.Session) -> None:
    together.select(getattr(item, "function", None) for item in session.items)


def _rank(item: pytest.Item) -> tuple[bool, bool, bool]:
    story = together.is_story(getattr(item, "function", None))
    return (item.path.name in LAST, not story, item.path.name == RECORD)


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(contract: Contract) -> AsyncIterator[World]:
    async with World.opened(contract) as opened:
        await opened.allow_every_cluster()
        yield opened
