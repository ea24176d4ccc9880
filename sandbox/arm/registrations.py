"""Resource providers of the subscription: registered all of them, until somebody unregisters one.

``az provider register`` and ``unregister`` (Providers - Register, Unregister; api 2021-04-01).
"""

from __future__ import annotations

from typing import Any

from sandbox.arm.errors import ArmError
from sandbox.arm.ids import ResourceId
from sandbox.arm.store import Store


class Registrations:
    """Which providers are registered."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def shown(self, target: ResourceId) -> dict[str, Any]:
        """A provider as its GET shows it."""
        return {
            "id": _provider_id(target),
            "namespace": target.namespace,
            "registrationState": self._state(target),
            "resourceTypes": [],
        }

    def change(self, target: ResourceId, *, registered: bool) -> None:
        """Register or unregister a provider."""
        state = "Registered" if registered else "NotRegistered"
        self._store.note(_provider_id(target))["state"] = state
        self._store.changed()

    def check(self, target: ResourceId) -> None:
        """Refuse to make what an unregistered provider would answer for.

        Raises:
            ArmError: 409 ``MissingSubscriptionRegistration``.
        """
        if self._state(target) != "Registered":
            message = (
                f"The subscription is not registered to use namespace '{target.namespace}'. See"
                " https://aka.ms/rps-not-found for how to register subscriptions."
            )
            raise ArmError(409, "MissingSubscriptionRegistration", message)

    def _state(self, target: ResourceId) -> str:
        return str(self._store.note(_provider_id(target)).get("state", "Registered"))


def _provider_id(target: ResourceId) -> str:
    return f"/subscriptions/{target.subscription}/providers/{target.namespace}"
