from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.live_oracle import ORACLES
from tests.fakes.local_app import LocalApp, make_app

REMOVALS = pytest.StashKey[int]()


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path)


@pytest.fixture(autouse=True)
def nothing_alive_is_pruned(request: pytest.FixtureRequest) -> Iterator[None]:
    """Holds for every test: the oracle in the fakes has seen no prune take something alive."""
    ORACLES.clear()
    yield
    stash = request.config.stash
    stash[REMOVALS] = stash.get(REMOVALS, 0) + sum(one.removals for one in ORACLES)
    assert [found for one in ORACLES for found in one.live] == []


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["removals"] = session.config.stash.get(REMOVALS, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of a divided run tells what it has seen."""
    stash = node.config.stash
    stash[REMOVALS] = stash.get(REMOVALS, 0) + node.workeroutput.get("removals", 0)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    removals = terminalreporter.config.stash.get(REMOVALS, 0)
    if removals:
        terminalreporter.write_line(f"{removals} removals by prunes, of things alive: as asserted, 0")
