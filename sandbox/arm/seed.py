"""What exists before the first request: two resource groups, the app's identity, the owner's role."""

from __future__ import annotations

import uuid

from sandbox.arm.access import ASSIGNMENTS, DEFINITIONS, OWNER_ROLE
from sandbox.arm.call import utc_now
from sandbox.arm.groups import Groups
from sandbox.arm.identities import Identities
from sandbox.arm.world import World

APP_IDENTITY_NAME = "id-mooring"


def seed(world: World, groups: Groups, identities: Identities) -> None:
    """Fill an empty world; a world that came back from a snapshot is left as it is."""
    if not world.store.is_new:
        return
    topology = world.topology
    subscription = f"/subscriptions/{topology.subscription_id}"
    for name in (topology.resource_group, topology.identity_resource_group):
        groups.keep(groups.group(f"{subscription}/resourceGroups/{name}", topology.location), None)
    identity_id = (
        f"{subscription}/resourcegroups/{topology.resource_group}/providers/"
        f"{identities.type}/{APP_IDENTITY_NAME}"
    )
    app_identity = identities.identity(
        identity_id,
        topology.location,
        {},
        principal_id=topology.app_principal_id,
        client_id=topology.app_client_id,
    )
    identities.keep(app_identity, None)
    world.store.note(identity_id)["created"] = 0.0
    name, now = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{subscription}/owner")), utc_now()
    world.store.put(
        {
            "properties": {
                "roleDefinitionId": f"{subscription}/providers/{DEFINITIONS}/{OWNER_ROLE}",
                "principalId": topology.owner_principal_id,
                "principalType": "ServicePrincipal",
                "scope": subscription,
                "condition": None,
                "conditionVersion": None,
                "createdOn": now,
                "updatedOn": now,
                "createdBy": "",
                "updatedBy": "",
                "delegatedManagedIdentityResourceId": None,
                "description": None,
            },
            "id": f"{subscription}/providers/{ASSIGNMENTS}/{name}",
            "type": ASSIGNMENTS,
            "name": name,
        },
    )
