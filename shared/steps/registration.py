"""Resource providers of a subscription: without a registration nothing of the provider can be made there.

A subscription registers providers one by one, some by itself at the first use from the portal, and Resource
Manager refuses a write else (``MissingSubscriptionRegistration``; learn.microsoft.com, "Azure resource
providers and types"). Registering is its owner's act.
"""

from __future__ import annotations

from shared import naming
from shared.errors import PermanentError
from shared.ports import Resources
from shared.targets import TargetType

API_VERSION = "2021-04-01"
IDENTITIES = "Microsoft.ManagedIdentity"
_MISSING = frozenset({"notregistered", "unregistered", "unregistering"})


def not_registered(subscription_id: str, namespace: str) -> PermanentError:
    """The error of a provider that a subscription has not registered."""
    return PermanentError(
        "provider-not-registered",
        f"subscription {subscription_id} has not registered {namespace}",
        remedy=registering(subscription_id, namespace),
    )


def registering(subscription_id: str, namespace: str) -> str:
    """What the subscription's owner types to register a provider."""
    return f"az provider register --namespace {namespace} --subscription {subscription_id} --wait"


def namespace_of(resource_id: str) -> str:
    """The provider's namespace in a resource's id, as written."""
    return resource_id.rsplit("/providers/", maxsplit=1)[-1].split("/", maxsplit=1)[0]


async def require(resources: Resources, subscription_id: str, namespace: str) -> None:
    """The subscription has registered a provider.

    Raises:
        PermanentError: ``provider-not-registered``; whatever keeps the app from reading it.
    """
    provider_id = f"/subscriptions/{subscription_id}/providers/{namespace}"
    answer = await resources.get(provider_id, api_version=API_VERSION)
    state = str((answer or {}).get("registrationState", ""))
    if state.lower() in _MISSING:
        raise not_registered(subscription_id, namespace)


async def require_part(resources: Resources, row: TargetType, target_id: str) -> None:
    """The part that a target's id names is there, if it names one.

    Raises:
        PermanentError: ``target-not-found``; whatever keeps the app from reading it.
    """
    part_id = row.part_id(target_id)
    if part_id and await resources.get(part_id, api_version=row.api_version) is None:
        shown = f"az resource show --ids {part_id} --api-version {row.api_version}"
        remedy = f"make it first, or name all of {row.existence_id(target_id)}; check the id: {shown}"
        raise PermanentError("target-not-found", part_id, remedy=remedy)


def target_missing(target_id: str) -> PermanentError:
    """The error of a target that Azure does not know: misspelt, or of a provider that is not registered."""
    subscription_id, namespace = naming.subscription_of(target_id), namespace_of(target_id)
    shown = f"az provider show --namespace {namespace} --subscription {subscription_id}"
    return PermanentError(
        "target-not-found",
        target_id,
        remedy=f"check the id (az resource show --ids {target_id}), and that the subscription has registered"
        f" {namespace}: {shown} --query registrationState; if not, {registering(subscription_id, namespace)}",
    )
