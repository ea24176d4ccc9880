"""What an error code of Azure or Kubernetes means for us: one table, no code.

Read by ``arm_errors.py``. Some services have codes of their own, so the key is (service, code). A code
counts before the HTTP status, which only serves where no code is known. What an error means depends on
what was wanted: a missing resource is the goal when deleting and a surprise when making something in it.

Sources: learn.microsoft.com "Resolve common Azure deployment errors", "Troubleshoot Azure RBAC",
"Understanding how Azure Resource Manager throttles requests", "Table and Queue service error codes";
kubernetes.io "API concepts" and ``k8s.io/apimachinery/pkg/apis/meta/v1`` (StatusReason).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum

from shared.errors import Pace


class Service(StrEnum):
    """Whose code it is."""

    ARM = "arm"
    STORAGE = "storage"
    KUBERNETES = "kubernetes"
    COSMOS = "cosmos"
    REDIS = "redis"


class Intent(StrEnum):
    """What the call wanted."""

    READ = "read"
    ENSURE = "ensure"
    DELETE = "delete"
    CREATE = "create"
    """Make something that must not be there yet."""


class Effect(StrEnum):
    """What comes of the error."""

    ABSENT = "absent"
    """The thing is definitely not there."""
    TRANSIENT = "transient"
    CONFLICT = "conflict"
    """Somebody else changed the row first."""
    NOT_YET = "not-yet"
    PERMANENT = "permanent"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What one code means."""

    effect: Effect
    code: str = ""
    """Our own code, part of the product's interface."""
    pace: Pace = Pace.SLOW
    remedy: str = ""


def transient(code: str, pace: Pace = Pace.SLOW) -> Rule:
    """A rule: trying again can help."""
    return Rule(Effect.TRANSIENT, code, pace)


def permanent(code: str, remedy: str = "") -> Rule:
    """A rule: only a person can help."""
    return Rule(Effect.PERMANENT, code, remedy=remedy)


Rules = Mapping[Intent, Rule]


def always(rule: Rule) -> Rules:
    """The rule whatever was wanted."""
    return dict.fromkeys(Intent, rule)


def absent_else(ensure: Rule) -> Rules:
    """A definite not-found: the answer when reading or deleting, ``ensure`` when making something."""
    absent = Rule(Effect.ABSENT)
    return {Intent.READ: absent, Intent.DELETE: absent, Intent.ENSURE: ensure, Intent.CREATE: ensure}


def only(special: Mapping[Intent, Rule], *, otherwise: Rule) -> Rules:
    """Rules for some intents, and one for all others."""
    return {intent: special.get(intent, otherwise) for intent in Intent}


_GRANT = "Grant the app's identity the missing action at that scope (infra/ has the role), then repeat."
_PARENT = transient("parent-not-found")
_THROTTLED = transient("throttled")
_CONFLICT = Rule(Effect.CONFLICT, "state-conflict", Pace.NONE)
_STORAGE_ACCESS = transient("storage-access-denied")
"""A new role assignment takes up to ten minutes to reach the data plane."""

_ARM: Mapping[str, Rules] = {
    # Definite absence. Nothing else proves that a resource is gone, a bare 404 least of all.
    "ResourceNotFound": absent_else(_PARENT),
    "ResourceGroupNotFound": absent_else(
        permanent("resource-group-missing", "Create the resource group, then repeat.")
    ),
    "ParentResourceNotFound": absent_else(_PARENT),
    "NotFound": absent_else(_PARENT),
    "RoleAssignmentNotFound": absent_else(_PARENT),
    # What is part of another resource has codes of its service.
    "ContainerNotFound": absent_else(_PARENT),
    "QueueNotFound": absent_else(_PARENT),
    "TableNotFound": absent_else(_PARENT),
    "MessagingGatewayNotFoundStatusCode": absent_else(_PARENT),
    # Roles.
    "PrincipalNotFound": always(transient("principal-not-found")),
    "InvalidPrincipalId": always(permanent("principal-invalid")),
    "RoleAssignmentExists": always(transient("role-assignment-exists")),
    "RoleAssignmentUpdateNotPermitted": always(
        permanent("role-assignment-foreign", "Remove the role assignment of that name, then repeat."),
    ),
    "RoleAssignmentLimitExceeded": always(
        permanent(
            "role-assignment-limit", "Remove role assignments that nobody needs from the subscription."
        ),
    ),
    "RoleDefinitionDoesNotExist": always(
        permanent("role-unknown", "Correct the role definition's id in the policy.")
    ),
    # Federated credentials.
    "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity": always(
        Rule(Effect.NOT_YET, "credential-write-busy"),
    ),
    # Rights, locks, policies.
    "AuthorizationFailed": always(permanent("access-denied", _GRANT)),
    "LinkedAuthorizationFailed": always(permanent("access-denied-linked", _GRANT)),
    "ScopeLocked": always(permanent("scope-locked", "Remove the lock, then repeat.")),
    "RequestDisallowedByPolicy": always(
        permanent("azure-policy-refused", "Ask for an exemption from the Azure policy named in the detail."),
    ),
    "RequestDisallowedByAzure": always(permanent("azure-refused")),
    "DenyAssignmentAuthorizationFailed": always(permanent("access-denied-by-deny-assignment")),
    "SubscriptionNotFound": always(permanent("subscription-not-found", "Check the subscription id.")),
    "ReadOnlyDisabledSubscription": always(permanent("subscription-disabled")),
    "MissingSubscriptionRegistration": always(
        permanent(
            "provider-not-registered",
            "Register the provider that the detail names: az provider register --namespace Microsoft...",
        ),
    ),
    "NoRegisteredProviderFound": always(permanent("provider-unknown")),
    "InvalidResourceType": always(permanent("resource-type-unknown")),
    "InvalidAuthenticationToken": always(transient("token-refused")),
    "ExpiredAuthenticationToken": always(transient("token-refused", Pace.FAST)),
    "AuthenticationFailed": always(transient("token-refused")),
    # Somebody else is at work.
    "OperationNotAllowed": always(transient("operation-in-progress", Pace.VERY_SLOW)),
    "AnotherOperationInProgress": always(transient("operation-in-progress", Pace.VERY_SLOW)),
    "ResourceGroupBeingDeleted": always(transient("resource-group-being-deleted", Pace.VERY_SLOW)),
    "Conflict": always(transient("conflict")),
    "PreconditionFailed": always(transient("precondition", Pace.FAST)),
    "RetryableError": always(transient("not-ready")),
    "ReferencedResourceNotProvisioned": always(transient("not-ready")),
    # Too much at once.
    "SubscriptionRequestsThrottled": always(_THROTTLED),
    "ResourceRequestsThrottled": always(_THROTTLED),
    "TenantRequestsThrottled": always(_THROTTLED),
    "Throttled": always(_THROTTLED),
    "TooManyRequests": always(_THROTTLED),
}

_BUSY = always(Rule(Effect.NOT_YET, "target-updating"))

_COSMOS: Mapping[str, Rules] = {
    **_ARM,
    # One operation on an account at a time: "requires an exclusive lock".
    "PreconditionFailed": _BUSY,
    # What we send is well formed; a principal that its directory does not know yet has no code of its own.
    "BadRequest": only({Intent.ENSURE: transient("principal-not-found")}, otherwise=permanent("bad-request")),
}

_REDIS: Mapping[str, Rules] = {
    **_ARM,
    # One change of a cache at a time.
    "Conflict": _BUSY,
    "InvalidAccessPolicyAssignment": always(
        permanent("access-policy-taken", "Give the principal one access policy of the cache only.")
    ),
}

_STORAGE: Mapping[str, Rules] = {
    "EntityAlreadyExists": always(_CONFLICT),
    "UpdateConditionNotSatisfied": always(_CONFLICT),
    "ConditionNotMet": always(_CONFLICT),
    "EntityNotFound": only({Intent.READ: Rule(Effect.ABSENT)}, otherwise=_CONFLICT),
    "ResourceNotFound": only({Intent.READ: Rule(Effect.ABSENT)}, otherwise=_CONFLICT),
    "TableNotFound": always(permanent("table-missing", "Deploy infra/ again: it makes the tables.")),
    "QueueNotFound": absent_else(permanent("queue-missing", "Deploy infra/ again: it makes the queues.")),
    "MessageNotFound": always(Rule(Effect.ABSENT)),
    "BlobNotFound": absent_else(_CONFLICT),
    "ContainerNotFound": always(
        permanent("container-missing", "Make the container that MOORING_DEAD_LETTER_CONTAINER names.")
    ),
    "ContainerBeingDeleted": always(transient("container-being-deleted")),
    "PopReceiptMismatch": always(Rule(Effect.ABSENT)),
    "TableBeingDeleted": always(transient("table-being-deleted")),
    "QueueBeingDeleted": always(transient("queue-being-deleted")),
    "ServerBusy": always(transient("storage-busy", Pace.FAST)),
    "InternalError": always(transient("storage-error", Pace.FAST)),
    "OperationTimedOut": always(transient("storage-timeout", Pace.FAST)),
    "AuthorizationPermissionMismatch": always(_STORAGE_ACCESS),
    "AuthorizationFailure": always(_STORAGE_ACCESS),
    "InsufficientAccountPermissions": always(_STORAGE_ACCESS),
    "AuthenticationFailed": always(transient("token-refused")),
    "InvalidAuthenticationInfo": always(transient("token-refused")),
    "NoAuthenticationInformation": always(transient("token-refused")),
    "EntityTooLarge": always(permanent("row-too-large")),
    "PropertyValueTooLarge": always(permanent("row-too-large")),
    "RequestBodyTooLarge": always(permanent("row-too-large")),
    "InvalidDuplicateRow": always(permanent("row-twice-in-transaction")),
}

_KUBERNETES_CONFLICT = transient("kubernetes-conflict", Pace.FAST)

_KUBERNETES: Mapping[str, Rules] = {
    "NotFound": absent_else(permanent("namespace-not-found", "Create the namespace, then repeat.")),
    "AlreadyExists": only(
        {Intent.CREATE: permanent("object-exists", "Look whose it is: kubectl get --output yaml.")},
        otherwise=_KUBERNETES_CONFLICT,
    ),
    "Conflict": only({Intent.DELETE: transient("precondition", Pace.FAST)}, otherwise=_KUBERNETES_CONFLICT),
    # Not reasons of the API: clusters.py reports these causes of Conflict and Forbidden by their own names.
    "FieldManagerConflict": always(
        permanent(
            "field-conflict", "Another tool manages that field: remove the object, or the tool's claim."
        ),
    ),
    "NamespaceTerminating": always(
        permanent("namespace-terminating", "Wait until the namespace is gone, create it, then repeat."),
    ),
    "Unauthorized": always(transient("kubernetes-token-refused")),
    "Forbidden": always(
        permanent(
            "kubernetes-access-denied", "Bind the app's identity to the role in infra/ in this cluster."
        ),
    ),
    "Invalid": always(permanent("kubernetes-invalid")),
    "BadRequest": always(permanent("kubernetes-invalid")),
    "MethodNotAllowed": always(permanent("kubernetes-unsupported")),
    "NotAcceptable": always(permanent("kubernetes-unsupported")),
    "UnsupportedMediaType": always(permanent("kubernetes-unsupported")),
    "RequestEntityTooLarge": always(permanent("kubernetes-invalid")),
    "Expired": always(transient("list-expired", Pace.FAST)),
    "Gone": always(transient("list-expired", Pace.FAST)),
    # Not Azure's: an API server that is busy is no reason to leave a subscription alone.
    "TooManyRequests": always(transient("kubernetes-busy")),
    "Timeout": always(transient("kubernetes-timeout", Pace.FAST)),
    "ServerTimeout": always(transient("kubernetes-timeout", Pace.FAST)),
    "ServiceUnavailable": always(transient("kubernetes-unavailable", Pace.SLOW)),
    "InternalError": always(transient("kubernetes-error", Pace.SLOW)),
}

RULES: Mapping[tuple[Service, str], Rules] = {
    (service, code.lower()): rules
    for service, table in (
        (Service.ARM, _ARM),
        (Service.STORAGE, _STORAGE),
        (Service.KUBERNETES, _KUBERNETES),
        (Service.COSMOS, _COSMOS),
        (Service.REDIS, _REDIS),
    )
    for code, rules in table.items()
}
"""Rules by service and code in lower case."""

STATUS_RULES: Mapping[int, Rule] = {
    400: permanent("bad-request"),
    401: transient("token-refused"),
    403: permanent("access-denied", _GRANT),
    404: transient("not-found-unproven"),
    405: permanent("not-supported"),
    408: transient("timeout", Pace.FAST),
    409: transient("conflict"),
    410: transient("gone-unproven"),
    412: transient("precondition", Pace.FAST),
    413: permanent("too-large"),
    415: permanent("not-supported"),
    422: permanent("bad-request"),
    429: _THROTTLED,
    500: transient("service-error", Pace.FAST),
    502: transient("service-error", Pace.FAST),
    503: transient("service-unavailable", Pace.FAST),
    504: transient("timeout", Pace.FAST),
}
"""Where no code is known. A 404 without a code proves nothing: a proxy or a wrong path says the same."""

NO_ANSWER = transient("connection-failed", Pace.FAST)
"""No connection, or no answer in time."""

UNKNOWN = transient("unknown")
"""Neither code nor status is known; the engine caps the attempts."""
