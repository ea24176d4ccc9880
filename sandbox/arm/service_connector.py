"""Service Connector: what it makes for a connection, and what it leaves behind.

It writes a secret and a service account into the cluster, a federated credential on the named
identity and role assignments on the target. Deleting the connection takes back the credential
and the roles; the two Kubernetes objects stay, as Azure's documentation warns.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

from sandbox.arm.access import ASSIGNMENTS
from sandbox.arm.call import utc_now
from sandbox.arm.directory import CREDENTIALS
from sandbox.arm.errors import ArmError
from sandbox.arm.ids import ResourceId, id_key, parse_id
from sandbox.arm.kubernetes import Clusters
from sandbox.arm.store import Body
from sandbox.arm.world import World

AUDIENCE = "api://AzureADTokenExchange"


@dataclasses.dataclass(frozen=True, slots=True)
class ConnectorRow:
    """What the service knows about a kind of target."""

    type: str
    setting: str
    """Prefix of the keys in the secret."""
    endpoint_key: str
    endpoint_property: str
    """Path into the target's properties, dots between names."""
    roles: list[str]
    """Role definition guids granted on the target."""
    extra: dict[str, str]
    """Settings with fixed values."""


@functools.cache
def connector_rows() -> tuple[ConnectorRow, ...]:
    """The kinds of targets the service supports, from ``connector_targets.json``."""
    rows = json.loads(Path(__file__).with_name("connector_targets.json").read_text())
    return tuple(ConnectorRow(**row) for row in rows)


def secret_name(connection: str) -> str:
    """The secret of a connection; characters outside letters and digits fall away, then lower case."""
    return f"sc-{re.sub('[^A-Za-z0-9]', '', connection).lower()}-secret"


class ServiceConnector:
    """Carries connections out; everything it does is written down in the linker's notes."""

    def __init__(self, world: World, kubernetes: Clusters) -> None:
        self._world = world
        self._store = world.store
        self._kubernetes = kubernetes

    def target(self, linker: Body) -> tuple[ConnectorRow, Body]:
        """The row and the resource a linker points to.

        Raises:
            ArmError: 400 for an unknown kind, 404 for a target that is not there.
        """
        target_id = parse_id(str((linker["properties"].get("targetService") or {}).get("id", "")))
        row = next((one for one in connector_rows() if one.type == target_id.type.lower()), None)
        if row is None:
            raise ArmError(400, "TargetTypeNotSupported", f"Target type '{target_id.type}' is not supported.")
        found = self._store.get(_account_id(target_id))
        if found is None:
            raise ArmError(404, "ResourceNotFound", f"The target resource '{target_id.text}' was not found.")
        return row, found

    def identity(self, linker: Body) -> Body:
        """The identity a linker names by its client id.

        Raises:
            ArmError: 404 when nobody has it.
        """
        client_id = str((linker["properties"].get("authInfo") or {}).get("clientId", ""))
        found = self._world.directory.identity(client_id)
        if found is None:
            message = f"The user-assigned identity with client id '{client_id}' was not found."
            raise ArmError(404, "UserAssignedIdentityNotFound", message)
        return found

    def settings(self, linker: Body) -> dict[str, str]:
        """Keys and values of the secret."""
        row, target = self.target(linker)
        value: Any = target["properties"]
        for part in row.endpoint_property.split("."):
            value = value[part]
        if row.endpoint_key == "FULLYQUALIFIEDNAMESPACE":
            value = str(value).removeprefix("https://").split(":", 1)[0]
        client_id = self.identity(linker)["properties"]["clientId"]
        found = {f"{row.setting}_{row.endpoint_key}": str(value), f"{row.setting}_CLIENTID": client_id}
        found.update(row.extra)
        custom = (linker["properties"].get("configurationInfo") or {}).get("customizedKeys") or {}
        return {custom.get(name, name): setting for name, setting in found.items()}

    async def connect(self, linker: Body) -> None:
        """Make everything of a connection; on failure what was made on the Azure side is taken back.

        Raises:
            ArmError: Why it failed.
        """
        cluster = self._store.get(parse_id(linker["id"]).scope)
        if cluster is None or cluster["properties"]["provisioningState"] != "Succeeded":
            raise ArmError(
                409, "GeneralUserError", "Conflict: the cluster is being changed by another operation."
            )
        identity, settings = self.identity(linker), self.settings(linker)
        note = self._store.note(cluster["id"])
        properties = cluster["properties"]
        properties["oidcIssuerProfile"] = {"enabled": True, "issuerURL": note["issuer"]}
        properties["securityProfile"] = {
            **(properties.get("securityProfile") or {}),
            "workloadIdentity": {"enabled": True},
        }
        self._store.put(cluster)
        client_id = identity["properties"]["clientId"]
        namespace = str(linker["properties"].get("scope") or "default")
        account = f"sc-account-{client_id}"
        try:
            self._add_credential(
                linker, identity, note["issuer"], f"system:serviceaccount:{namespace}:{account}"
            )
            self._add_roles(linker, identity)
            objects = _objects(namespace, linker["name"], client_id, settings)
            for collection, body in objects:
                await self._kubernetes.write(note["server"], collection, body)
        except Exception:
            self.disconnect(linker)
            raise

    def _add_credential(self, linker: Body, identity: Body, issuer: str, subject: str) -> None:
        note = self._store.note(linker["id"])
        for known in self._store.of_type(CREDENTIALS, identity["id"]):
            if (known["properties"]["issuer"], known["properties"]["subject"]) == (issuer, subject):
                # Shared with another connection of the same identity and namespace, or made by someone else.
                if self._store.note(known["id"]).get("byServiceConnector"):
                    note["credential"] = known["id"]
                    self._store.changed()
                return
        name = f"sc-{re.sub('[^A-Za-z0-9]', '', linker['name'])[:40]}-{uuid.uuid4().hex[:8]}"
        body: Body = {
            "id": f"{identity['id']}/federatedIdentityCredentials/{name}",
            "name": name,
            "type": CREDENTIALS,
            "properties": {"issuer": issuer, "subject": subject, "audiences": [AUDIENCE]},
        }
        self._store.put(body)
        self._store.note(body["id"]).update(byServiceConnector=True, written=time.time())
        note["credential"] = body["id"]

    def _add_roles(self, linker: Body, identity: Body) -> None:
        row, target = self.target(linker)
        principal = identity["properties"]["principalId"]
        made = self._store.note(linker["id"]).setdefault("roles", [])
        subscription = parse_id(target["id"]).subscription
        for role in row.roles:
            definition = (
                f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"
            )
            exists = any(
                id_key(body["properties"]["scope"]) == id_key(target["id"])
                and body["properties"]["principalId"] == principal
                and id_key(body["properties"]["roleDefinitionId"]) == id_key(definition)
                for body in self._store.of_type(ASSIGNMENTS, target["id"])
            )
            if exists:
                continue
            name, now = str(uuid.uuid4()), utc_now()
            assignment = {
                "properties": {
                    "roleDefinitionId": definition,
                    "principalId": principal,
                    "principalType": "ServicePrincipal",
                    "scope": target["id"],
                    "condition": None,
                    "conditionVersion": None,
                    "createdOn": now,
                    "updatedOn": now,
                    "createdBy": "",
                    "updatedBy": "",
                    "delegatedManagedIdentityResourceId": None,
                    "description": None,
                },
                "id": f"{target['id']}/providers/{ASSIGNMENTS}/{name}",
                "type": ASSIGNMENTS,
                "name": name,
            }
            self._store.put(assignment)
            made.append(assignment["id"])

    def disconnect(self, linker: Body) -> None:
        """Take back credential and role assignments that no other connection has; leave the cluster alone."""
        note = self._store.notes.get(id_key(linker["id"]), {})
        for assignment in note.pop("roles", []):
            self._store.remove(assignment)
        credential = note.pop("credential", None)
        shared = any(
            other.get("credential") == credential
            for key, other in self._store.notes.items()
            if key != id_key(linker["id"])
        )
        if credential and not shared:
            self._store.remove(credential)
        self._store.changed()


def _account_id(target: ResourceId) -> str:
    """The account itself for a child such as ``blobServices/default``."""
    return (
        f"{target.scope}/providers/{target.namespace}/{target.types[0]}/{target.names[0]}"
        if target.names
        else ""
    )


def _objects(
    namespace: str, connection: str, client_id: str, settings: dict[str, str]
) -> list[tuple[str, dict[str, Any]]]:
    """Service account and secret of a connection, each with its collection's path."""
    where = f"/api/v1/namespaces/{namespace}"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": f"sc-account-{client_id}",
            "namespace": namespace,
            "annotations": {"azure.workload.identity/client-id": client_id},
        },
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name(connection), "namespace": namespace},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in settings.items()},
    }
    return [(f"{where}/serviceaccounts", account), (f"{where}/secrets", secret)]
