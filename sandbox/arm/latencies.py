"""How long Azure takes: recorded medians of round trips and of Service Connector's operations."""

from __future__ import annotations

from sandbox.faults import LatencyRule

_IDENTITY = r"/userAssignedIdentities/[^/?]+"

_ROUND_TRIPS: tuple[tuple[str, str, float], ...] = (
    ("PUT", _IDENTITY + r"/federatedIdentityCredentials/[^/?]+(\?|$)", 1.856),
    ("GET", _IDENTITY + r"/federatedIdentityCredentials", 0.819),
    ("DELETE", _IDENTITY + r"/federatedIdentityCredentials/", 1.856),
    ("PUT", r"/roleAssignments/[^/?]+(\?|$)", 2.871),
    ("GET", r"/roleAssignments", 0.131),
    ("DELETE", r"/roleAssignments/", 2.3),
    ("GET", r"/roleDefinitions", 0.115),
    ("PUT", r"/roleDefinitions/", 2.201),
    ("PUT", _IDENTITY + r"(\?|$)", 1.851),
    ("GET", _IDENTITY + r"(\?|$)", 0.389),
    ("DELETE", _IDENTITY + r"(\?|$)", 7.43),
    ("GET", r"Microsoft\.ContainerService/locations/", 0.215),
    ("POST", r"/managedClusters/[^/]+/listCluster", 0.314),
    ("GET", r"/managedClusters/[^/?]+(\?|$)", 0.678),
    ("PUT", r"/managedClusters/[^/?]+(\?|$)", 8.825),
    ("DELETE", r"/managedClusters/[^/?]+(\?|$)", 1.176),
    ("GET", r"/storageAccounts/", 0.224),
    ("PUT", r"/storageAccounts/[^/?]+(\?|$)", 3.538),
    ("DELETE", r"/storageAccounts/[^/?]+(\?|$)", 3.253),
    ("GET", r"Microsoft\.KeyVault/vaults", 0.23),
    ("PUT", r"Microsoft\.KeyVault/vaults", 3.18),
    ("DELETE", r"Microsoft\.KeyVault/vaults", 3.745),
    ("GET", r".*", 0.2),
    ("", r".*", 0.5),
)

OPERATION_SECONDS = {
    "linker-put": 88.9,
    "linker-update": 73.3,
    "linker-validate": 6.2,
    "linker-delete": 36.2,
    "cluster-put": 292.0,
    "cluster-update": 102.0,
    "cluster-delete": 292.0,
    "storage-put": 17.0,
    "group-delete": 60.0,
    "vault-purge": 5.0,
    "cosmos-grant-put": 10.0,
    "cosmos-grant-delete": 10.0,
    "redis-grant-put": 10.0,
    "redis-grant-delete": 10.0,
}
"""Server-side seconds of asynchronous operations: medians for linkers (eight runs with workload
identity), the shortest seen for clusters, guesses for data grants."""


def recorded_p50() -> list[LatencyRule]:
    """The recorded medians as latency rules, the most specific first; unrecorded calls get a guess."""
    return [LatencyRule(method=method, path=path, seconds=seconds) for method, path, seconds in _ROUND_TRIPS]
