"""Where every tier was asked for (MOORING_ALL_TIERS, set by .ci/run), a skipped test is a failure."""

import os
from typing import Any

import pytest


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
