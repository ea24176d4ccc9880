"""A pytest plugin that notes how long each test takes; coverage beside it notes which lines it reaches."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

SECONDS_FILE = "MUTATION_SECONDS_FILE"
_seconds: dict[str, float] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish() -> None:
    Path(os.environ[SECONDS_FILE]).write_text(json.dumps(_seconds))
