"""From a request to a provider: what the gateway checks on the way, in its order."""

from __future__ import annotations

from sandbox.arm.call import Answer, Call
from sandbox.arm.errors import (
    ArmError,
    authorization_failed,
    bad_request,
    group_not_found,
    parent_not_found,
    resource_not_found,
)
from sandbox.arm.groups import Groups
from sandbox.arm.ids import ResourceId, parse_id
from sandbox.arm.linkers import Linkers
from sandbox.arm.locks import check_locks
from sandbox.arm.provider import ResourceType
from sandbox.arm.registrations import Registrations
from sandbox.arm.registry import Registry
from sandbox.arm.targets import StorageAccounts
from sandbox.arm.world import World

VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
GROUP_ACTIONS = "Microsoft.Resources/subscriptions/resourceGroups"
RESOURCE_LIST_ACTION = "Microsoft.Resources/subscriptions/resources/read"
TENANT_READS = ("/providers/microsoft.authorization/roledefinitions", "/subscriptions")
"""What every principal of the tenant may read without a role."""
PLAIN_EXTENSIONS = frozenset({"microsoft.authorization"})


class Router:
    """Authorizes, checks existence and locks, and hands the call to its resource type."""

    def __init__(
        self, world: World, registry: Registry, groups: Groups, linkers: Linkers, storage: StorageAccounts
    ) -> None:
        self._world = world
        self._registry = registry
        self._groups = groups
        self._linkers = linkers
        self._storage = storage
        self._registrations = Registrations(world.store)

    def provider(self, call: Call) -> ResourceType:
        """The resource type a call is about."""
        return self._registry.of(call.id.type) if call.id.namespace else self._groups

    def action(self, call: Call) -> str:
        """The authorization action, for example ``Microsoft.Storage/storageAccounts/read``."""
        if _is_resource_list(call):
            return RESOURCE_LIST_ACTION
        if _is_registration(call):
            return f"{call.id.namespace}/{call.action}/action"
        if call.id.namespace and not call.id.types:
            return "Microsoft.Resources/subscriptions/providers/read"
        if not call.id.namespace:
            type_name = (
                GROUP_ACTIONS
                if call.id.group or _is_group_list(call.id)
                else "Microsoft.Resources/subscriptions"
            )
            return f"{type_name}/{call.action + '/action' if call.action else VERBS[call.method]}"
        type_name = self._registry.of(call.id.type).type
        return f"{type_name}/{call.action + '/action' if call.action else VERBS[call.method]}"

    async def answer(self, call: Call) -> Answer:
        """Answer one authenticated call.

        Raises:
            ArmError: Every refusal, in the words of the service that refuses.
        """
        operation = self._operation(call)
        if operation is not None:
            return operation
        public = call.method == "GET" and _is_tenant_read(call.id.key)
        if not public and not self._world.access.allows(call.caller, call.id.text, action=self.action(call)):
            raise authorization_failed(call.caller_app, call.caller, self.action(call), call.id.text)
        if call.id.subscription.lower() not in {"", self._world.topology.subscription_id.lower()}:
            message = f"The subscription '{call.id.subscription}' could not be found."
            raise ArmError(404, "SubscriptionNotFound", message, gateway=True)
        if not call.id.namespace:
            return await self._without_provider(call)
        if _is_registration(call):
            self._registrations.change(call.id, registered=call.action == "register")
        if not call.id.types:
            return Answer(200, self._registrations.shown(call.id))
        if call.method == "PUT":
            self._registrations.check(call.id)
        self._check_existence(call)
        check_locks(self._world.store, call.method, call.id)
        provider = self._registry.of(call.id.type)
        return await _dispatch(provider, call)

    async def _without_provider(self, call: Call) -> Answer:
        lower = call.id.text.lower()
        if _is_resource_list(call):
            return await self._groups.list_resources(call)
        if call.id.group:
            check_locks(self._world.store, call.method, call.id)
            return await _dispatch(self._groups, call)
        if _is_group_list(call.id):
            return await self._groups.list(call)
        if lower.endswith("/providers"):
            return Answer(200, {"value": []})
        topology = self._world.topology
        shown = {
            "id": f"/subscriptions/{topology.subscription_id}",
            "subscriptionId": topology.subscription_id,
            "tenantId": topology.tenant_id,
            "displayName": "Sandbox",
            "state": "Enabled",
        }
        return Answer(200, shown if call.id.subscription else {"value": [shown]})

    def _check_existence(self, call: Call) -> None:
        """The gateway knows groups and parents; nothing below a missing one reaches its provider."""
        store, target = self._world.store, call.id
        if target.group:
            group = store.get(f"/subscriptions/{target.subscription}/resourceGroups/{target.group}")
            if group is None:
                raise group_not_found(target.group)
            if call.method == "PUT" and group["properties"]["provisioningState"] == "Deleting":
                raise ArmError(
                    409,
                    "ResourceGroupBeingDeleted",
                    f"The resource group '{target.group}' is in deprovisioning state and cannot "
                    "perform this operation.",
                    gateway=True,
                )
        if target.is_extension:
            host = parse_id(target.scope)
            top = f"{host.scope}/providers/{host.namespace}/{host.types[0]}/{host.names[0]}"
            if host.namespace.lower() not in PLAIN_EXTENSIONS and store.get(top) is None:
                raise resource_not_found(parse_id(top))
        if len(target.types) > 1 and "locations" not in {one.lower() for one in target.types}:
            parent = parse_id(target.parent)
            if store.get(parent.text) is None and not _always_there(parent, store.get(parent.parent)):
                verb = "read" if call.method == "GET" else VERBS.get(call.method, "action")
                raise parent_not_found(verb, target, parent.text)

    def _operation(self, call: Call) -> Answer | None:
        """Polls of asynchronous operations; they need a token and nothing more."""
        types = [one.lower() for one in call.id.types]
        parts = call.id.text.split("/")
        if "operationresults" in (part.lower() for part in parts[3:4]):
            operation = self._groups.operation_of(parts[-1])
            if operation is None:
                raise bad_request("InvalidOperationToken", "The operation token is not valid.")
            return self._groups.poll(call.id.subscription, operation, call.api_version)
        if len(types) < 2 or types[0] != "locations" or not types[1].startswith(("operation", "async")):
            return None
        found = self._world.operations.get(call.id.name)
        if found is None:
            raise ArmError(404, "NotFound", f"The operation '{call.id.name}' was not found.")
        if found["kind"].startswith("linker"):
            return self._linkers.status(found, call.api_version)
        if found["kind"] == "storage-put":
            return self._storage.poll(found, call)
        if found["kind"] == "vault-purge":
            return Answer(202 if found["status"] == found["running"] else 200)
        shown = {"name": found["name"], "status": found["status"], "startTime": found["startTime"]}
        for part in ("endTime", "error"):
            if part in found:
                shown[part] = found[part]
        return Answer(200, shown)


async def _dispatch(provider: ResourceType, call: Call) -> Answer:
    if call.id.is_collection:
        if call.method != "GET":
            message = f"The requested resource does not support http method '{call.method}'."
            raise ArmError(405, "MethodNotAllowed", message)
        return await provider.list(call)
    if call.method == "HEAD":
        await provider.get(call)
        return Answer(204)
    if call.action:
        return await provider.act(call)
    handlers = {"GET": provider.get, "PUT": provider.put, "PATCH": provider.patch, "DELETE": provider.delete}
    return await handlers[call.method](call)


def _is_tenant_read(key: str) -> bool:
    return key in TENANT_READS or key.startswith(f"{TENANT_READS[0]}/")


def _is_group_list(target: ResourceId) -> bool:
    return not target.group and target.text.lower().endswith("/resourcegroups")


def _is_resource_list(call: Call) -> bool:
    return call.method == "GET" and not call.id.namespace and call.id.text.lower().endswith("/resources")


def _always_there(parent: ResourceId, account: object) -> bool:
    """Storage's ``default`` services exist with their account."""
    return parent.name.lower() == "default" and account is not None


def _is_registration(call: Call) -> bool:
    provider = bool(call.id.namespace) and not call.id.types
    return call.method == "POST" and provider and call.action in {"register", "unregister"}
