"""Token buckets of Resource Manager and of the providers, and the headers that show them.

A subscription has a bucket for each principal and kind of request and one, fifteen times as
large, for all principals. Managed Service Identity and AKS add their own; those of MSI hold
twenty seconds' worth of requests, the window in which Azure states its creation limits.
"""

from __future__ import annotations

import dataclasses
import math
import time

from sandbox.arm.errors import ArmError
from sandbox.arm.ids import ResourceId

KINDS = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
ARM_BUCKETS = {"reads": (250.0, 25.0), "writes": (200.0, 10.0), "deletes": (200.0, 10.0)}
"""Size and refill per second."""
GLOBAL_FACTOR = 15
MSI_WINDOW_SECONDS = 20
MSI_RATES = {
    "PUT": (2.0, 0.25),
    "PATCH": (2.0, 0.25),
    "GET": (10.0, 0.5),
    "LIST": (5.0, 0.25),
    "DELETE": (2.0, 0.25),
}
"""Requests per second of a subscription and of one resource."""
AKS_BUCKETS = {"GET": (60.0, 1.0), "PUT": (20.0, 1 / 60), "LIST": (500.0, 1.0), "POST": (60.0, 1.0)}


@dataclasses.dataclass(slots=True)
class Bucket:
    """Tokens left at a moment of the monotonic clock."""

    size: float
    refill_per_second: float
    tokens: float
    at: float

    def take(self, now: float) -> float:
        """Take one token; returns seconds to wait when there is none, else 0."""
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.refill_per_second)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.refill_per_second


class Throttle:
    """Counts requests; ``arm`` and ``providers`` switch the two families of limits."""

    def __init__(self) -> None:
        self.arm = True
        self.providers = True
        self.scale = 1.0
        """Multiplies every bucket's size; tests make buckets small with it."""
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def reset(self) -> None:
        """Fill every bucket."""
        self._buckets.clear()

    def _bucket(self, key: tuple[str, ...], size: float, refill_per_second: float, now: float) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            full = max(1.0, size * self.scale)
            bucket = self._buckets[key] = Bucket(full, refill_per_second, full, now)
        return bucket

    def admit(self, method: str, target: ResourceId, principal: str) -> dict[str, str]:
        """Count one request.

        Returns:
            The remaining-requests headers of the answer.

        Raises:
            ArmError: 429 with ``Retry-After``, in the shape of the limit that was hit.
        """
        now = time.monotonic()
        headers: dict[str, str] = {}
        subscription = target.subscription.lower()
        kind = KINDS.get(method, "writes")
        if self.arm and subscription:
            size, refill = ARM_BUCKETS[kind]
            own = self._bucket(("arm", subscription, principal, kind), size, refill, now)
            every = self._bucket(
                ("all", subscription, kind), size * GLOBAL_FACTOR, refill * GLOBAL_FACTOR, now
            )
            wait = own.take(now) or every.take(now)
            if wait:
                raise _subscription_throttled(method, target, math.ceil(wait))
            headers[f"x-ms-ratelimit-remaining-subscription-{kind}"] = str(int(own.tokens))
            headers[f"x-ms-ratelimit-remaining-subscription-global-{kind}"] = str(int(every.tokens))
        if self.providers:
            self._admit_provider(method, target, now)
        return headers

    def _admit_provider(self, method: str, target: ResourceId, now: float) -> None:
        namespace = target.namespace.lower()
        verb = "LIST" if method == "GET" and target.is_collection else method
        subscription = target.subscription.lower()
        if namespace == "microsoft.managedidentity" and verb in MSI_RATES:
            whole, single = MSI_RATES[verb]
            window = MSI_WINDOW_SECONDS
            wait = self._bucket(("msi", subscription, verb), whole * window, whole, now).take(now)
            if not wait:
                wait = self._bucket(("msi", target.key, verb), single * window, single, now).take(now)
            if wait:
                raise _throttled("TooManyRequests", "Microsoft.ManagedIdentity", math.ceil(wait))
        elif (
            namespace == "microsoft.containerservice"
            and verb in AKS_BUCKETS
            and "operations" not in target.types
        ):
            size, refill = AKS_BUCKETS[verb]
            place = target.key if verb in {"GET", "PUT"} else subscription
            wait = self._bucket(("aks", place, verb), size, refill, now).take(now)
            if wait:
                raise _throttled("Throttled", "Microsoft.ContainerService", math.ceil(wait))


def _subscription_throttled(method: str, target: ResourceId, seconds: int) -> ArmError:
    operation = f"{method}/SUBSCRIPTIONS/RESOURCEGROUPS/PROVIDERS/{target.type.upper()}"
    return ArmError(
        429,
        "SubscriptionRequestsThrottled",
        f"Number of requests for subscription '{target.subscription}' and operation "
        f"'{operation}' exceeded the "
        f"backend storage limit. Please try again after '{seconds}' seconds.",
        gateway=True,
        headers={"Retry-After": str(seconds)},
    )


def _throttled(code: str, provider: str, seconds: int) -> ArmError:
    return ArmError(
        429,
        code,
        f"Number of requests for {provider} exceeded the limit. Please try again after '{seconds}' seconds.",
        headers={"Retry-After": str(seconds)},
    )
