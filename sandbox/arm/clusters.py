"""AKS managed clusters: asynchronous creation and deletion, issuer, kubelet identity, kubeconfigs."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

from sandbox.arm.call import Answer, Call, utc_now
from sandbox.arm.errors import ArmError
from sandbox.arm.ids import id_key, parse_id
from sandbox.arm.kubernetes import Clusters
from sandbox.arm.operations import Operation
from sandbox.arm.provider import SUCCEEDED, ResourceType, require_location
from sandbox.arm.registry import Registry
from sandbox.arm.store import Body
from sandbox.arm.world import World

AKS_SERVER_APPLICATION = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""The Entra application of every AKS API server, the same in all clouds."""
STATES = {
    "Creating": "PutManagedCluster",
    "Updating": "PutManagedCluster",
    "Deleting": "DeleteManagedCluster",
}


class ManagedClusters(ResourceType):
    """A cluster has an API server in the Kubernetes emulator and a new issuer for each incarnation."""

    type = "Microsoft.ContainerService/managedClusters"
    lower_case_group = True

    def __init__(self, world: World, registry: Registry, kubernetes: Clusters) -> None:
        super().__init__(world)
        self._registry = registry
        self._kubernetes = kubernetes
        world.operations.register("cluster-put", self._finish_put)
        world.operations.register("cluster-update", self._finish_put)
        world.operations.register("cluster-delete", self._finish_delete)

    def _refuse_when_busy(self, found: Body | None) -> None:
        state = found["properties"]["provisioningState"] if found else SUCCEEDED
        if found is not None and state in STATES:
            raise ArmError(
                409,
                "OperationNotAllowed",
                f"Operation is not allowed because there's an in progress {STATES[state]} "
                "operation (operation ID: "
                f"{uuid.uuid4()}) on the managed cluster {found['name']} started on UTC "
                f"{utc_now()}. Please wait "
                "for it to finish before starting a new operation.",
                wrapped=False,
            )

    @staticmethod
    def _check_conditions(call: Call, found: Body | None) -> None:
        wanted, unwanted = call.headers.get("if-match", ""), call.headers.get("if-none-match", "")
        if wanted and unwanted:
            raise ArmError(400, "BadRequest", "If-Match and If-None-Match cannot be combined.", wrapped=False)
        tag = found.get("eTag", "") if found else ""
        failed = (
            (wanted and not found and call.method == "PUT")
            or (wanted not in {"", "*"} and wanted.strip('"') != tag)
            or (unwanted == "*" and found is not None)
        )
        if failed:
            raise ArmError(
                412, "PreconditionFailed", "The condition of the request is not met.", wrapped=False
            )

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        self._check_conditions(call, existing)
        self._refuse_when_busy(existing)
        location = existing["location"] if existing else require_location(call)
        resource_id = existing["id"] if existing else self.canonical_id(call.id)
        note = dict(self.store.notes.get(id_key(resource_id), {}))
        if existing is None:
            note = {"incarnation": str(uuid.uuid4()), "kubernetes": self._free_name(call.id.name)}
            note["server"], note["issuer"] = await self._kubernetes.make(
                note["kubernetes"], note["incarnation"]
            )
        body = self._cluster(call, existing, resource_id, location, note)
        self.keep(body, existing)
        self.store.note(resource_id).update(note)
        kind = "cluster-update" if existing else "cluster-put"
        operation = self.begin(kind, call, "Write", running="InProgress")
        headers = {"Azure-AsyncOperation": self._operation_url(operation, body)}
        return Answer(200 if existing else 201, body, headers, accepted=True)

    def _free_name(self, name: str) -> str:
        used = {str(self.store.note(body["id"]).get("kubernetes")) for body in self.store.of_type(self.type)}
        return name if name not in used else f"{name}-{uuid.uuid4().hex[:8]}"

    def _operation_url(self, operation: Operation, body: Body) -> str:
        subscription = parse_id(body["id"]).subscription
        where = (
            f"/subscriptions/{subscription}/providers/Microsoft.ContainerService/locations/{body['location']}"
        )
        return self.world.operations.url(f"{where}/operations/{operation['name']}", "2016-03-30")

    def _cluster(
        self, call: Call, existing: Body | None, resource_id: str, location: str, note: dict[str, str]
    ) -> Body:
        tenant = self.world.topology.tenant_id
        old: dict[str, Any] = existing["properties"] if existing else {}
        properties: dict[str, Any] = {**old, **call.properties}
        name = call.id.name
        issuer = properties.get("oidcIssuerProfile") or {}
        enabled = bool(issuer.get("enabled"))
        identity = dict(call.body.get("identity") or {"type": "SystemAssigned"})
        if "SystemAssigned" in str(identity.get("type")):
            known = (existing or {}).get("identity", {})
            identity["principalId"] = known.get("principalId") or str(uuid.uuid4())
            identity["tenantId"] = tenant
        fqdn = old.get("fqdn") or f"{name}-{uuid.uuid4().hex[:8]}.hcp.{location}.azmk8s.io"
        properties |= {
            "provisioningState": "Updating" if existing else "Creating",
            "powerState": {"code": "Running"},
            "kubernetesVersion": properties.get("kubernetesVersion") or "1.33",
            "currentKubernetesVersion": old.get("currentKubernetesVersion") or "1.33.5",
            "dnsPrefix": properties.get("dnsPrefix") or name,
            "fqdn": fqdn,
            "azurePortalFQDN": fqdn.replace(".hcp.", ".portal.hcp."),
            "nodeResourceGroup": properties.get("nodeResourceGroup")
            or f"MC_{call.id.group}_{name}_{location}",
            "enableRBAC": properties.get("enableRBAC", True),
            "disableLocalAccounts": bool(properties.get("disableLocalAccounts")),
            "securityProfile": properties.get("securityProfile") or {},
            "oidcIssuerProfile": {"enabled": True, "issuerURL": note["issuer"]}
            if enabled
            else {"enabled": False},
        }
        # One that was put without it has local accounts only; the sandbox's own is seeded with it.
        if "aadProfile" in properties:
            properties["aadProfile"] = {"tenantID": tenant, **(properties["aadProfile"] or {})}
        return {
            "id": resource_id,
            "location": location,
            "name": name,
            "type": "Microsoft.ContainerService/ManagedClusters",
            "tags": call.body.get("tags") or {},
            "properties": properties,
            "identity": identity,
            "sku": call.body.get("sku") or {"name": "Base", "tier": "Free"},
            "eTag": str(uuid.uuid4()),
        }

    async def _finish_put(self, operation: Operation) -> None:
        found = self.store.get(operation["resourceId"])
        if found is None:
            return
        properties = found["properties"]
        if "kubeletidentity" not in (properties.get("identityProfile") or {}):
            kubelet = self._make_node_group(found)
            properties["identityProfile"] = {
                "kubeletidentity": {
                    "resourceId": kubelet["id"],
                    "clientId": kubelet["properties"]["clientId"],
                    "objectId": kubelet["properties"]["principalId"],
                },
            }
        properties["provisioningState"] = SUCCEEDED
        self.store.put(found)

    def _make_node_group(self, cluster: Body) -> Body:
        """The managed node group with the kubelet's identity, as AKS makes it next to the cluster."""
        from sandbox.arm.groups import Groups
        from sandbox.arm.identities import Identities

        groups = self._registry.of("Microsoft.Resources/resourceGroups")
        identities = self._registry.of("Microsoft.ManagedIdentity/userAssignedIdentities")
        if not isinstance(groups, Groups) or not isinstance(identities, Identities):
            raise TypeError("groups and identities are registered at start-up")
        subscription = parse_id(cluster["id"]).subscription
        name, location = cluster["properties"]["nodeResourceGroup"], cluster["location"]
        groups.keep(groups.group(f"/subscriptions/{subscription}/resourceGroups/{name}", location), None)
        provider = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
        kubelet_id = (
            f"/subscriptions/{subscription}/resourcegroups/{name}/{provider}/{cluster['name']}-agentpool"
        )
        kubelet = identities.identity(kubelet_id, location, {})
        identities.keep(kubelet, None)
        return kubelet

    async def patch(self, call: Call) -> Answer:
        found = self.require(call)
        self._check_conditions(call, found)
        self._refuse_when_busy(found)
        found["tags"] = call.body.get("tags") or {}
        found["eTag"] = str(uuid.uuid4())
        self.store.put(found)
        return Answer(200, found)

    async def delete(self, call: Call) -> Answer:
        found = self.store.get(call.id.text)
        if found is None:
            return Answer(204)
        self._check_conditions(call, found)
        self._refuse_when_busy(found)
        found["properties"]["provisioningState"] = "Deleting"
        self.store.put(found)
        operation = self.begin("cluster-delete", call, "Delete", running="InProgress")
        url = self._operation_url(operation, found)
        return Answer(202, None, {"Azure-AsyncOperation": url, "Location": url}, accepted=True)

    async def _finish_delete(self, operation: Operation) -> None:
        found = self.store.get(operation["resourceId"])
        if found is not None:
            await self.destroy(found)

    async def destroy(self, body: Body) -> None:
        name = str(self.store.note(body["id"]).get("kubernetes", body["name"]))
        await self._kubernetes.drop(name)
        subscription = parse_id(body["id"]).subscription
        node_group = body["properties"].get("nodeResourceGroup", "")
        await super().destroy(body)
        group = self.store.get(f"/subscriptions/{subscription}/resourceGroups/{node_group}")
        if node_group and group is not None:
            await self._registry.of(group["type"]).destroy(group)

    async def act(self, call: Call) -> Answer:
        found = self.require(call)
        action = call.action.lower()
        if action == "listclusteradmincredential":
            if found["properties"]["disableLocalAccounts"]:
                raise ArmError(
                    400,
                    "BadRequest",
                    "Getting static credential is not allowed because this cluster is set to "
                    "disable local accounts.",
                    wrapped=False,
                )
            return self._kubeconfig(found, "clusterAdmin", executable=False)
        if action == "listclusterusercredential":
            return self._kubeconfig(
                found, "clusterUser", executable=bool(found["properties"].get("aadProfile"))
            )
        return await super().act(call)

    def _kubeconfig(self, cluster: Body, name: str, *, executable: bool) -> Answer:
        """A kubeconfig in base64; with Entra integration it asks kubelogin, else it holds a token."""
        topology = self.world.topology
        authority = Path(topology.ca_file).read_bytes()
        context = cluster["name"] if name == "clusterUser" else f"{cluster['name']}-admin"
        user: dict[str, Any] = {"token": topology.kubernetes_admin_token}
        if executable:
            arguments = [
                "get-token",
                "--environment",
                "AzurePublicCloud",
                "--server-id",
                AKS_SERVER_APPLICATION,
            ]
            arguments += ["--tenant-id", topology.tenant_id, "--login", "devicecode"]
            user = {
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1beta1",
                    "command": "kubelogin",
                    "args": arguments,
                    "env": None,
                    "provideClusterInfo": False,
                },
            }
        server = self.store.note(cluster["id"])["server"]
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": cluster["name"],
                    "cluster": {
                        "certificate-authority-data": base64.b64encode(authority).decode(),
                        "server": server,
                    },
                },
            ],
            "users": [{"name": f"{name}_{cluster['name']}", "user": user}],
            "contexts": [
                {
                    "name": context,
                    "context": {"cluster": cluster["name"], "user": f"{name}_{cluster['name']}"},
                },
            ],
            "current-context": context,
            "preferences": {},
        }
        # JSON is YAML, and needs no YAML library at start-up.
        value = base64.b64encode(json.dumps(config, indent=1).encode()).decode()
        return Answer(200, {"kubeconfigs": [{"name": name, "value": value}]})
