"""A checker of Bicep against Azure's published types, where one is given: ``MOORING_BICEP_CHECKER``.

It is a Python file with a function ``check(path)`` that returns the findings of a template and its modules.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from tests.infra.deployment import Deployment

PLACE = os.environ.get("MOORING_BICEP_CHECKER", "")
UNKNOWN = ("unknown-type Microsoft.Insights/activityLogAlerts@",)
"""Findings that say only that the checker's data lacks a type: ``rules_alerts`` holds these word by word."""
CALL = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("bicep_checker", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for path in sys.argv[2:]:
    try:
        found = [" ".join(map(str, one)) for one in module.check(path)]
    except Exception as error:
        found = [f"{type(error).__name__}: {error}"]
    print(json.dumps(found))
"""
"""A template that the checker cannot even read is a finding. It runs in a process of its own."""

needs_checker = pytest.mark.skipif(not PLACE, reason="MOORING_BICEP_CHECKER is not set")


def checked(deployments: Iterable[Deployment]) -> list[list[Any]]:
    """What the checker finds in each."""
    paths = [str(one.infra / "main.bicep") for one in deployments]
    command = [sys.executable, "-c", CALL, PLACE, *paths]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [[one for one in each if not any(known in str(one) for known in UNKNOWN)] for each in found]
