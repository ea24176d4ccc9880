"""Where a sweep looks: clusters and namespaces that the policy lists, in the configured subscriptions.

Never anywhere else: a cluster that no rule lists any more is named in the sweep's result and asked nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from shared import naming
from shared.inventory import WatchedCluster
from shared.policy import Policy
from shared.policy_rules import Allow

_WILD = frozenset("*?")


def clusters(known: Iterable[WatchedCluster], policy: Policy | None) -> list[str]:
    """Ids of the clusters to look at: those on record, and those that the policy names in full."""
    found = {naming.fold_id(one.cluster_id): one.cluster_id for one in known}
    for rule in policy.allow if policy else ():
        for pattern in rule.clusters:
            if not _WILD & set(pattern):
                found.setdefault(pattern, pattern)
    return [found[key] for key in sorted(found)]


def by_pattern(policy: Policy, subscription_id: str) -> bool:
    """Say whether some rule lists clusters of a subscription by a pattern, which Azure alone can fill in."""
    patterns = {pattern for rule in policy.allow for pattern in rule.clusters if _WILD & set(pattern)}
    return any(naming.subscription_of(one) == subscription_id for one in patterns)


def listed(policy: Policy, cluster_id: str) -> bool:
    """Say whether some rule of the policy lists a cluster."""
    return bool(_rules(policy, cluster_id))


def namespaces(policy: Policy, cluster_id: str, present: Mapping[str, bool] | None) -> Sequence[str]:
    """Namespaces of a cluster whose objects may be listed.

    Args:
        policy: the policy.
        cluster_id: the cluster.
        present: what the API server lists, ``None`` if it may not be asked: then those that the policy names.

    Returns:
        ``[""]``, which stands for one list of the whole cluster, where a rule says ``*``; else the names.
        What is protected is left out in either case, by whoever goes through the list.
    """
    rules = _rules(policy, cluster_id)
    if any("*" in rule.namespaces for rule in rules):
        return [""]
    names = present if present is not None else {name for rule in rules for name in rule.namespaces}
    return [name for name in sorted(names) if not _WILD & set(name) and policy.watches(cluster_id, name)]


def unlisted(policy: Policy, cluster_id: str, present: Mapping[str, bool] | None) -> str:
    """A pattern of namespaces that nobody could fill in, because none were listed; empty if there is none.

    Args:
        policy: the policy.
        cluster_id: the cluster.
        present: as for ``namespaces``.
    """
    rules = _rules(policy, cluster_id)
    if present is not None or any("*" in rule.namespaces for rule in rules):
        return ""
    return next((name for rule in rules for name in rule.namespaces if _WILD & set(name)), "")


def _rules(policy: Policy, cluster_id: str) -> list[Allow]:
    folded = naming.fold_id(cluster_id).split("/")
    return [rule for rule in policy.allow if any(_matches(pattern, folded) for pattern in rule.clusters)]


def _matches(pattern: str, folded: Sequence[str]) -> bool:
    """Segment by segment, as the policy itself matches, so that no ``*`` reaches across a slash."""
    wanted = pattern.split("/")
    return len(wanted) == len(folded) and all(map(fnmatchcase, folded, wanted))
