"""Least privilege as data: which actions, which roles to hand on, at which scope, on which condition."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from sandbox.arm.access import built_in_roles
from shared.catalogue import catalogue
from tests.infra.deployment import ROLE_ASSIGNMENT, ROOT, Deployment
from tests.infra.rules_resources import differences

AUTHORIZATION = "Microsoft.Authorization/roleAssignments"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
DATA_GRANTS = (
    "Microsoft.Cache/redis/accessPolicyAssignments",
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments",
)
ALWAYS_READ = {
    "Microsoft.ContainerService/managedClusters/read",
    "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.ServiceLinker/linkers/read",
    "Microsoft.Storage/storageAccounts/read",
    "Microsoft.KeyVault/vaults/read",
}
MAY_READ = {
    "Microsoft.Authorization/locks/read",
    "Microsoft.Authorization/roleAssignments/read",
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators/read",
    "Microsoft.ManagedIdentity/userAssignedIdentities/read",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read",
    "Microsoft.Resources/subscriptions/providers/read",
    "Microsoft.Resources/subscriptions/resources/read",
}
"""Reads that sweeps need, or preflight: whether they are used is told by the record of calls
(tests/e2e/test_rights.py)."""


def naming_type(template: str) -> str:
    """Resource type of an id template, as written."""
    namespace, *rest = template.split("/providers/", 1)[1].split("/")
    return "/".join((namespace, *rest[::2]))


EXACT = {
    "identities": {
        f"{IDENTITY}{part}/{verb}"
        for part in ("", "/federatedIdentityCredentials")
        for verb in ("read", "write", "delete")
    },
    "grants": {f"{AUTHORIZATION}/{verb}" for verb in ("read", "write", "delete")},
    "dataGrants": {f"{kind}/{verb}" for kind in DATA_GRANTS for verb in ("read", "write", "delete")},
    "keys": {
        f"{naming_type(kind.keys.id_template)}/{kind.keys.action}/action"
        for row in catalogue().rows
        for kind in row.auth.values()
        if kind.keys
    },
}
ROLE_FILES = {
    "reader": "roles/reader.json",
    "identities": "roles/identities.json",
    "grants": "roles/grants.json",
    "dataGrants": "roles/data-grants.json",
    "keys": "roles/keys.json",
    "clusterObjects": "kubernetes/azure-role.json",
}
PRIVILEGED = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
    "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59": "Managed Identity Contributor",
}
BUILT_IN = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
}
"""Roles that the template assigns as they are, on what it makes."""
PLAIN = re.compile(r"Microsoft\.\w+(/\w+)+/(read|write|delete|action)")
STRONG = re.compile(r"list\w*(keys|secrets|admin)|/regenerate|runcommand|assign/", re.IGNORECASE)
"""Actions that hand out credentials or run code."""
KUBERNETES_VERBS = {
    "get": "read",
    "list": "read",
    "watch": "read",
    "create": "write",
    "patch": "write",
    "update": "write",
    "delete": "delete",
}
"""How Azure RBAC for Kubernetes names verbs (kubeguard/guard, authz/providers/azure/rbac)."""
FILLED_IN = {
    "delegable": "loadJsonContent('../roles/delegable.json').roles",
    "grantable": (
        "map(filter(delegable, role => empty(roleNames) || contains(roleNames, role.name)), role => role.id)"
    ),
    "revocable": "map(delegable, role => role.id)",
    "granting": (
        "replace(loadTextContent('../roles/grants-condition.txt'), '<grantable>', join(grantable, ', '))"
    ),
    "condition": (
        "replace(replace(granting, '<revocable>', join(revocable, ', ')), '<appPrincipalId>', appPrincipalId)"
    ),
}
"""A narrower list must not stop revoking."""
CLAUSE = """\
( ( !(ActionMatches{{'{action}'}}) ) OR (
 {source}[{type}:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{<{roles}>}} AND
 {source}[{type}:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {{'ServicePrincipal'}} AND
 {source}[{type}:PrincipalId] ForAnyOfAllValues:GuidNotEquals {{<appPrincipalId>}} ) )"""


def no_action_is_a_wildcard(deployment: Deployment) -> Iterator[str]:
    for key, path in ROLE_FILES.items():
        role = deployment.json(path)
        if role.keys() - {"roleName", "description", "actions", "dataActions"}:
            yield f"{path}: {sorted(role)}"
        for action in (*role["actions"], *role.get("dataActions", ())):
            # What this one role is for; which keys it hands out is the catalogue's to say.
            strong = key != "keys" and STRONG.search(action)
            if not PLAIN.fullmatch(action) or strong:
                yield f"{path}: {action}"


def each_role_has_exactly_what_the_app_does(deployment: Deployment) -> Iterator[str]:
    found = {name: set(deployment.json(path)["actions"]) for name, path in ROLE_FILES.items()}
    for name, wanted in EXACT.items():
        yield from (f"{name}: {action}" for action in sorted(found[name] ^ wanted))
    folded = {action.lower() for action in found["reader"]}
    reads = {f"{type_name.lower()}/read" for type_name in catalogue().watched_types()}
    always = {action.lower() for action in ALWAYS_READ}
    yield from (f"reader lacks {action}" for action in sorted(always - folded))
    may = always | reads | {action.lower() for action in MAY_READ}
    yield from (f"reader: {action}" for action in sorted(folded - may))
    yield from (f"clusterObjects: {action}" for action in found["clusterObjects"])


def cluster_roles_say_the_same_twice(deployment: Deployment) -> Iterator[str]:
    """The data actions are those of role.yaml, in the words of Azure RBAC."""
    role = yaml.safe_load(deployment.text("kubernetes/role.yaml"))
    wanted = set()
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            stem = "/".join(part for part in ("Microsoft.ContainerService/managedClusters", group) if part)
            for resource in rule["resources"]:
                wanted |= {f"{stem}/{resource}/{KUBERNETES_VERBS[verb]}" for verb in rule["verbs"]}
    found = set(deployment.json(ROLE_FILES["clusterObjects"])["dataActions"])
    yield from sorted(found ^ wanted)


def what_may_be_handed_on_is_the_catalogues(deployment: Deployment) -> Iterator[str]:
    """Each is a role that the catalogue gives; that all of the catalogue's are here, its own tests hold."""
    listed = {(role["name"], role["id"]) for role in deployment.json("roles/delegable.json")["roles"]}
    text = (ROOT / "shared" / "catalogue.json").read_text(encoding="utf-8")
    known = {(role["roleName"], guid) for guid, role in built_in_roles().items()}
    yield from (f"{name} {guid}" for name, guid in sorted(listed - known))
    yield from (f"no target needs {name}" for name, guid in sorted(listed) if guid not in text)
    yield from (f"{PRIVILEGED[guid]} may be handed on" for _, guid in listed if guid in PRIVILEGED)


def the_condition_covers_writing_and_deleting(deployment: Deployment) -> Iterator[str]:
    text = " ".join(deployment.text("roles/grants-condition.txt").split())
    clauses = [
        CLAUSE.format(action=f"{AUTHORIZATION}/{verb}", source=source, type=AUTHORIZATION, roles=roles)
        for verb, source, roles in (("write", "@Request", "grantable"), ("delete", "@Resource", "revocable"))
    ]
    wanted = " AND ".join(" ".join(clause.split()) for clause in clauses)
    if text != wanted:
        yield f"{text}\n    should be\n{wanted}"


def granting_is_never_without_its_condition(deployment: Deployment) -> Iterator[str]:
    file = deployment.module("delegate-grant")
    grant = file.resource(ROLE_ASSIGNMENT)
    yield from differences({name: one.value for name, one in file.variables.items()}, FILLED_IN, "condition")
    yield from differences(grant.properties, {"condition": "condition", "conditionVersion": "2.0"}, "grant")
    for name, other in deployment.files.items():
        for module in other.modules:
            passed = " ".join(str(one) for one in module.params.values())
            if re.search(r"guids\.grants|\bgrantsRoleGuid", passed) and "delegate-grant" not in module.type:
                yield f"{name}: {module.name} gets the granting role without the condition"


def each_role_goes_to_its_own_scope(deployment: Deployment) -> Iterator[str]:
    scopes = {
        "identities-grant": ("identityGroup", "identitiesRoleGuid", "identities"),
        "delegate-grant": ("resourceGroup(split(id, '/')[2], split(id, '/')[4])", "grantsRoleGuid", "grants"),
        "data-grant": (
            "resourceGroup(split(id, '/')[2], split(id, '/')[4])",
            "dataGrantsRoleGuid",
            "dataGrants",
        ),
    }
    for module, (scope, param, key) in scopes.items():
        (use,) = deployment.uses(module)
        if use.body["scope"] != scope:
            yield f"{module} goes to {use.body['scope']}"
        if use.params["roleGuid"] != f"empty({param}) ? roles.outputs.guids.{key} : {param}":
            yield f"{module} assigns {use.params['roleGuid']}"
    for module, loop in (("delegate-grant", "id targetGroups"), ("data-grant", "id dataGroups")):
        (use,) = deployment.uses(module)
        if use.loop != loop:
            yield f"{module} goes to {use.loop}"
    if deployment.main.variables["dataGroups"].value != "dataGrants ? targetGroups : []":
        yield "data grants are given unasked"
    (keys,) = deployment.uses("keys-grant")
    told = (keys.body["scope"], keys.loop, keys.condition, keys.params["roleGuid"])
    if told != (scopes["delegate-grant"][0], "id targetGroups", "(keyRole)", "roles.outputs.guids.keys"):
        yield f"keys-grant goes to {told}"
    if deployment.main.params["keyRole"].value is not False:
        yield "keyRole is on"
    (watched,) = deployment.uses("watched-subscription")
    if (
        watched.params["readerRoleGuid"]
        != "empty(readerRoleGuid) ? roles.outputs.guids.reader : readerRoleGuid"
    ):
        yield f"reader is {watched.params['readerRoleGuid']}"
    group = deployment.main.resource("Microsoft.Resources/resourceGroups", "identityGroup")
    if group.body["name"] != "identityGroupName":
        yield f"identities lie in {group.body['name']}"
    places = {one.body.get("scope") for one in deployment.main.modules if one.name != "identitiesGrant"}
    if "identityGroup" in places:
        yield "something else is deployed to the group of identities"


def every_assignment_says_who(deployment: Deployment) -> Iterator[str]:
    for file, one in deployment.resources(ROLE_ASSIGNMENT):
        wanted = None if one.name == "requesterGrants" else "ServicePrincipal"
        if one.properties.get("principalType") != wanted:
            yield f"{file.path.name}: {one.name} is for {one.properties.get('principalType')}"
        if not str(one.properties["roleDefinitionId"]).startswith("subscriptionResourceId("):
            yield f"{file.path.name}: {one.properties['roleDefinitionId']}"
        if not str(one.body["name"]).startswith("guid("):
            yield f"{file.path.name}: {one.body['name']}"


def built_in_roles_are_the_listed_ones_on_what_is_made_here(deployment: Deployment) -> Iterator[str]:
    guid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    for name, file in deployment.files.items():
        for line in file.text.splitlines():
            for found in guid.findall(line):
                if BUILT_IN.get(found, "?") not in line:
                    yield f"{name}: {line.strip()}"
    scopes = {
        "accountGrants": ("account", "role"),
        "logGrant": ("components", "metricsPublisher"),
        "requesterGrants": ("requestQueue", "messageSender"),
        "queueGrant": ("eventQueue", "messageSender"),
        "deadLetterGrant": ("deadLetters", "blobContributor"),
    }
    for file, one in deployment.resources(ROLE_ASSIGNMENT):
        if one.name in scopes:
            scope, role = scopes.pop(one.name)
            if one.body.get("scope") != scope or f", {role})" not in one.properties["roleDefinitionId"]:
                yield f"{file.path.name}: {one.name} at {one.body.get('scope')}"
    yield from (f"{name} is missing" for name in scopes)


def roles_are_defined_from_their_files(deployment: Deployment) -> Iterator[str]:
    file = deployment.module("role-definitions")
    wanted = [
        {
            "key": key,
            "definition": f"loadJsonContent('../{path}')",
            "dataActions": f"loadJsonContent('../{path}').dataActions" if key == "clusterObjects" else [],
        }
        for key, path in ROLE_FILES.items()
    ]
    if file.variables["roles"].value != wanted:
        yield f"roles {file.variables['roles'].value}"
    (made,) = file.resource("Microsoft.Authorization/roleDefinitions").properties["permissions"]
    if made != {
        "actions": "role.definition.actions",
        "notActions": [],
        "dataActions": "role.dataActions",
        "notDataActions": [],
    }:
        yield f"permissions {made}"


RULES = (
    no_action_is_a_wildcard,
    each_role_has_exactly_what_the_app_does,
    cluster_roles_say_the_same_twice,
    what_may_be_handed_on_is_the_catalogues,
    the_condition_covers_writing_and_deleting,
    granting_is_never_without_its_condition,
    each_role_goes_to_its_own_scope,
    every_assignment_says_who,
    built_in_roles_are_the_listed_ones_on_what_is_made_here,
    roles_are_defined_from_their_files,
)
