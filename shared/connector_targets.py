"""The resource types that a Service Connector connection can have as its target.

The catalogue has what Mooring can connect; a connection of Service Connector that Mooring watches may point
at any of these. Types: azure-cli ``serviceconnector/_resource_config.py`` (``TARGET_RESOURCES``), and for
Confluent, which has no Azure id there, the provider's own ``organizations``.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

_FILE = Path(__file__).with_name("connector_targets.json")


@functools.cache
def connector_types() -> frozenset[str]:
    """Folded types of all targets and of the resources that hold them, read once."""
    named = json.loads(_FILE.read_text(encoding="utf-8"))["resourceTypes"]
    return frozenset(above for one in named for above in _with_parents(one.lower()))


def _with_parents(resource_type: str) -> list[str]:
    namespace, *levels = resource_type.split("/")
    return ["/".join([namespace, *levels[:depth]]) for depth in range(1, len(levels) + 1)]
