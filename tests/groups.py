"""Which tests share a process: pytest-xdist hands out whole groups, so that each server is started once.

The stories share a sandbox, the Kubernetes contract its API servers, the ports' contract an Azure; any other
module is a group of its own.
"""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

STORIES = "stories"
GROUPS = (
    (re.compile(r"^tests/e2e/|^tests/contract/test_(?:ports_)?databases"), STORIES),
    (re.compile(r"^tests/(?:contract/test_(?:kubernetes_|manifest_kinds)|live/)"), "kubernetes"),
    (re.compile(r"^tests/contract/test_ports_"), "ports"),
)


def group(nodeid: str) -> str:
    """The group of a test: the first pattern that fits its module, else the module itself."""
    module = nodeid.partition("::")[0]
    return next((name for pattern, name in GROUPS if pattern.match(module)), module)


class Groups(LoadScopeScheduling):
    """Hands out groups in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
