"""Tests that share a server run in one process; everything else may run anywhere."""

import re
from pathlib import Path

import pytest

from tests.groups import STORIES, group

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/e2e/test_pruning.py::test_a[x::y]", STORIES),
        ("tests/contract/test_databases_real.py::test_a", STORIES),
        ("tests/contract/test_ports_databases.py::test_a", STORIES),
        ("tests/contract/test_kubernetes_apply.py::test_a[real]", "kubernetes"),
        ("tests/live/test_kubernetes_real.py::test_a", "kubernetes"),
        ("tests/contract/test_ports_keys.py::test_a", "ports"),
        ("tests/unit/test_users.py::test_a", "tests/unit/test_users.py"),
    ],
)
def test_a_test_is_found_in_its_group(nodeid: str, expected: str):
    assert group(nodeid) == expected


@pytest.mark.parametrize(
    ("fixtures", "expected"), [("kubernetes_fixtures", "kubernetes"), ("ports_fixtures", "ports")]
)
def test_modules_that_share_a_servers_fixtures_are_one_group(fixtures: str, expected: str):
    users = [
        path
        for path in TESTS.rglob("test_*.py")
        if re.search(rf'pytest_plugins = .*\b{fixtures}"', path.read_text(encoding="utf-8"))
    ]
    assert users
    assert {group(path.relative_to(TESTS.parent).as_posix()) for path in users} == {expected}
