"""One rule of the policy, what a connection must find listed in it, and the rule that would allow it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from shared import naming
from shared.spec import ConnectionSpec

AUTH_KINDS = ("workloadIdentity", "secret")
"""What a rule may list; without a list, the first."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """One ``[[allow]]``: a connection is allowed if a single one of these lists all that it needs."""

    clusters: tuple[str, ...]
    """Folded ARM ids; ``*`` and ``?`` stand for characters of one segment."""
    namespaces: tuple[str, ...]
    subscriptions: tuple[str, ...]
    target_types: tuple[str, ...]
    roles: tuple[str, ...] | None
    """Folded names; ``None`` allows whatever the catalogue gives the target type."""
    identities: tuple[str, ...]
    service_accounts: tuple[str, ...] = ()
    """Names or patterns of accounts that requests may name."""
    auth: tuple[str, ...] = AUTH_KINDS[:1]
    """Auth kinds; a key of the target comes into a cluster only where ``secret`` is listed."""


def dimensions(
    spec: ConnectionSpec, roles: Sequence[str], usual: Sequence[str]
) -> Iterator[tuple[str, str, str, Callable[[Allow], bool]]]:
    """What must be listed, in the order in which rules are narrowed down."""
    cluster, namespace = naming.fold_id(spec.cluster_id), spec.namespace
    subscription, identity = naming.subscription_of(spec.target_id), naming.fold_id(spec.identity_id)
    yield (
        "cluster",
        "connection.clusterId",
        spec.cluster_id,
        lambda rule: any(id_matches(pattern, cluster) for pattern in rule.clusters),
    )
    yield (
        "namespace",
        "connection.namespace",
        namespace,
        lambda rule: any(fnmatchcase(namespace, pattern) for pattern in rule.namespaces),
    )
    yield (
        "subscription",
        "connection.target.id",
        subscription,
        lambda rule: subscription in rule.subscriptions,
    )
    yield (
        "target type",
        "connection.target.type",
        spec.target_type,
        lambda rule: spec.target_type in rule.target_types,
    )
    kind = spec.auth_kind
    yield "authentication", "connection.authType", kind, lambda rule: kind in rule.auth
    for role in roles:
        yield "role", "connection.target.type", role, _lists_role(role, usual)
    if spec.identity_id:
        yield (
            "identity",
            "connection.identityId",
            spec.identity_id,
            lambda rule: identity in rule.identities,
        )
    if spec.service_account:
        yield (
            "service account",
            "connection.serviceAccount",
            spec.service_account,
            lambda rule: any(fnmatchcase(spec.service_account, one) for one in rule.service_accounts),
        )


def _lists_role(role: str, usual: Sequence[str]) -> Callable[[Allow], bool]:
    return lambda rule: role in usual if rule.roles is None else role.lower() in rule.roles


def rule_for(spec: ConnectionSpec, roles: Sequence[str]) -> str:
    """The narrowest rule that allows a connection, as TOML."""
    lines = {
        "clusters": [spec.cluster_id],
        "namespaces": [spec.namespace],
        "subscriptions": [naming.subscription_of(spec.target_id)],
        "target_types": [spec.target_type],
        **({"roles": list(roles)} if spec.by_identity else {"auth": [spec.auth_kind]}),
    }
    if spec.identity_id:
        lines["identities"] = [spec.identity_id]
    if spec.service_account:
        lines["service_accounts"] = [spec.service_account]
    listed = ((key, ", ".join(f'"{value}"' for value in values)) for key, values in lines.items())
    return "\n".join(["[[allow]]", *(f"{key} = [{values}]" for key, values in listed)])


def id_matches(pattern: str, folded_id: str) -> bool:
    """Match segment by segment, so that no ``*`` reaches across a slash."""
    wanted, found = pattern.split("/"), folded_id.split("/")
    return len(wanted) == len(found) and all(map(fnmatchcase, found, wanted))
