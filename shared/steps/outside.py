"""Everything outside that steps may call, in one value."""

from __future__ import annotations

import dataclasses

from shared.ports import Clusters, Databases, Grants, Identities, Linkers, Prover, Resources, Roles


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The ports that steps may call."""

    identities: Identities
    roles: Roles
    cosmos: Grants
    redis: Grants
    databases: Databases
    resources: Resources
    clusters: Clusters
    linkers: Linkers
    prover: Prover
