"""Why a prune removes, keeps, holds or only reports: every rule by its name.

The names are stable and part of the product's interface: they stand in the steps' outputs, in
``GET /api/prunes`` and on orphans. ``docs/reference/prunes.md`` shows the table to people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Verdict(StrEnum):
    """What a rule leads to."""

    REMOVE = "remove"
    KEEP = "keep"
    HOLD = "hold"
    """Not now; looked at again."""
    NOTHING = "nothing"
    """The prune ends without removing anything more."""
    REPORT = "report"
    RESTORE = "restore"


@dataclasses.dataclass(frozen=True, slots=True)
class PruneRule:
    """One rule."""

    verdict: Verdict
    meaning: str


_R, _K, _H, _N = Verdict.REMOVE, Verdict.KEEP, Verdict.HOLD, Verdict.NOTHING
_O, _B = Verdict.REPORT, Verdict.RESTORE

RULES: Mapping[str, PruneRule] = MappingProxyType(
    {
        "confirmed-gone": PruneRule(_R, "Azure said not-found twice while a witness answered."),
        "proven-by-uid": PruneRule(_R, "Its uid is the one recorded while its owner was alive."),
        "proven-by-nonce": PruneRule(_R, "It bears a nonce that was saved before it was written."),
        "last-user": PruneRule(_R, "It has the name that only Mooring computes, and its last user is gone."),
        "already-gone": PruneRule(_R, "It was not there any more."),
        "cluster-gone": PruneRule(_R, "It went with its cluster, or with the cluster's earlier life."),
        "not-proven-ours": PruneRule(_K, "Nothing proves that it is the one on record."),
        "object-changed": PruneRule(
            _K, "Another object of that name stands there: its uid is not the recorded."
        ),
        "object-returned": PruneRule(_K, "Somebody made it anew after it was removed: reported, not fought."),
        "object-exists": PruneRule(_K, "Somebody made one of that name: a restore overwrites nothing."),
        "keep-annotation": PruneRule(_K, "It bears the annotation `mooring.dev/keep`."),
        "mark-removed": PruneRule(
            _K, "Mooring made it and somebody took its label off: it may be theirs now."
        ),
        "protected-namespace": PruneRule(_K, "Its namespace is protected by the policy."),
        "protected-object": PruneRule(
            _K, "A service account `default` or a credential `aks-identity-binding`: never pruned."
        ),
        "still-shared": PruneRule(_K, "Another connection uses it."),
        "still-relied-on": PruneRule(
            _K, "An adopted role or credential that others may still need; the detail says why."
        ),
        "live-linker": PruneRule(_K, "A living Service Connector connection works through it."),
        "out-of-reach": PruneRule(
            _K, "In a delete: Azure does not find its subscription, so nobody can say whether it is there."
        ),
        "not-made-by-us": PruneRule(_K, "An identity without the tag of the workload it was made for."),
        "not-restorable": PruneRule(_K, "What would be needed to put it back was not recorded."),
        "owns-data": PruneRule(_H, "A database user owns tables, or others have granted it something."),
        "in-use": PruneRule(_H, "A pod, or something that makes pods, uses it."),
        "uses-unknown": PruneRule(_H, "The app may not list what could use it."),
        "cap": PruneRule(_H, "The cluster has seen its prunes of this hour; held until released."),
        "grace": PruneRule(_H, "Azure can still give the resource back."),
        "confirm": PruneRule(_H, "The second look at what is gone is not due yet."),
        "no-witness": PruneRule(_H, "Nothing else of the subscription could be read."),
        "policy-unreadable": PruneRule(_H, "The policy cannot be read, so nobody knows what it protects."),
        "alive": PruneRule(_N, "What was said to be gone is there."),
        "moved": PruneRule(_N, "What was said to be gone lives under another id."),
        "cluster-replaced": PruneRule(_N, "Another cluster stands in its place: its own prune sees to it."),
        "returned": PruneRule(_N, "What was gone came back while the prune was under way."),
        "overtaken": PruneRule(_N, "A delete, a create or another life made the prune needless."),
        "report-mode": PruneRule(_O, "`MOORING_PRUNE_MODE=report`: said and not done."),
        "no-record": PruneRule(
            _O, "It is named or labelled as a connection's, and no connection is on record."
        ),
        "no-users": PruneRule(_O, "An identity made by Mooring that no connection uses."),
        "dead-issuer": PruneRule(_O, "A credential that names the issuer of a cluster that is gone."),
        "named-by-person": PruneRule(_R, "A person named this orphan, and it is still the one reported."),
        "restored": PruneRule(_B, "Put back by request, with the keep annotation."),
    },
)
"""Every rule with its verdict and one line for people."""

BY_WAIT: Mapping[str, str] = MappingProxyType({"no-canary": "no-witness"})
"""Waiting reasons whose rule has another name; any other reason that is a rule is that rule."""

BY_RESULT: Mapping[str, str] = MappingProxyType(
    {
        "resource-alive": "alive",
        "resource-returned": "returned",
        "resource-moved": "moved",
        "linker-alive": "live-linker",
        "cluster-replaced": "cluster-replaced",
        "orphan-changed": "object-changed",
        "still-used": "still-shared",
        "issuer-alive": "alive",
        "already-orphaned": "overtaken",
        "stale-cause": "overtaken",
        "nothing-to-do": "overtaken",
    },
)
"""The rule of a prune that ended early, by its code."""


def of_wait(reason: str) -> str:
    """The rule behind a waiting reason, empty if the wait is none of a prune's rules."""
    name = BY_WAIT.get(reason, reason)
    return name if name in RULES else ""


def of_result(code: str) -> str:
    """The rule behind the code of a prune that ended early, empty if it is an error."""
    return "overtaken" if code.startswith("superseded-by-") else BY_RESULT.get(code, "")
