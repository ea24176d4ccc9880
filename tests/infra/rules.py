"""All rules, and what they find in a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.infra import rules_alerts, rules_events, rules_layout, rules_resources, rules_roles
from tests.infra.deployment import Deployment

Rule = Callable[[Deployment], Iterator[str]]
RULES: tuple[Rule, ...] = (
    *rules_layout.RULES,
    *rules_resources.RULES,
    *rules_roles.RULES,
    *rules_events.RULES,
    *rules_alerts.RULES,
)


def broken(deployment: Deployment) -> list[str]:
    """Names of the rules that a deployment breaks; one that cannot be asked is broken, too."""
    found = []
    for rule in RULES:
        try:
            holds = not list(rule(deployment))
        except (LookupError, ValueError, TypeError, OSError, AttributeError):
            # A file that is gone or unreadable leaves nothing to ask: that is no reason to pass.
            holds = False
        if not holds:
            found.append(rule.__name__)
    return found
