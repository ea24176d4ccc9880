"""What an API server is too old for is not collected; ``tests/tiers.py`` says so before the tests begin."""

import pytest

from tests.tiers import POLICY_SINCE, kubernetes


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    version = kubernetes()
    if version is None or version >= POLICY_SINCE:
        return  # without any the live tier is skipped as a whole
    early = [item for item in items if "guarded" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=early)
    items[:] = [item for item in items if item not in early]
