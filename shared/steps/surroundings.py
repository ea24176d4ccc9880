"""What steps may reach and what they obey: the ports, and the settings of the process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from shared.policy import Policy
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Settings that steps obey; the meaning of each stands in ``shared/settings.py``."""

    tenant_id: str
    identity_resource_group_id: str
    app_client_id: str
    prove: bool
    lease_seconds: float
    prune_confirm_seconds: float
    prune_grace_seconds: float
    prune_cap_per_hour: int
    hold_recheck_seconds: float
    orphan_retention_seconds: float
    role_assignment_limit: int
    subscription_ids: frozenset[str]
    load_policy: Callable[[], Policy]
    """Reads the policy afresh: a prune asks it what is protected.

    Raises:
        PermanentError: ``policy-unreadable``.
    """
