"""Policy and settings of the simulated hosts."""

from __future__ import annotations

import functools

from shared.policy import Policy
from shared.settings import Settings
from tests.simulation.world import (
    CLUSTERS,
    IDENTITY_GROUP,
    PROVIDED,
    SUBSCRIPTION,
)

_LISTED = ", ".join(f'"{one}"' for one in CLUSTERS)
POLICY = f"""
version = 1
[[allow]]
clusters = [{_LISTED}]
namespaces = ["*"]
subscriptions = ["{SUBSCRIPTION}"]
target_types = ["storage-blob", "keyvault"]
identities = [{", ".join(f'"{one}"' for one in PROVIDED)}]
"""


@functools.cache
def policy() -> Policy:
    """What the simulated hosts read."""
    return Policy.parse(POLICY)


@functools.cache
def settings_with(**overrides: str) -> Settings:
    """A host's settings."""
    return Settings.from_environment(
        {
            "AzureWebJobsStorage__queueServiceUri": "https://q.example",
            "AzureWebJobsStorage__tableServiceUri": "https://t.example",
            "AZURE_CLIENT_ID": "22222222-2222-4222-8222-222222222222",
            "AZURE_TENANT_ID": "33333333-3333-4333-8333-333333333333",
            "MOORING_SUBSCRIPTION_IDS": SUBSCRIPTION,
            "MOORING_IDENTITY_RESOURCE_GROUP_ID": IDENTITY_GROUP,
            "MOORING_PRUNE_GRACE_SECONDS": "400",
            "MOORING_HOLD_RECHECK_SECONDS": "120",
            **overrides,
        },
    )
