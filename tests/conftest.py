"""How a run is divided among processes, and what becomes of it.

Where every tier was asked for (MOORING_ALL_TIERS, set by .ci/run), a skipped test is a failure.
"""

import os
from typing import Any

import hypothesis
import pytest

from tests.groups import STORIES, Groups, group

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile(
    "mooring", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("mooring")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, if others can run beside it."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: group(item.nodeid) != STORIES)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    config.option.loadscopereorder = False
    return Groups(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        places = sorted({str(report.nodeid).partition("::")[0] for report in skipped})
        terminalreporter.write_line(f"*** {len(skipped)} SKIPPED: {', '.join(places)} ***", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not os.environ.get("MOORING_ALL_TIERS") or exitstatus:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
