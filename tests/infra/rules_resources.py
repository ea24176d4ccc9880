"""What the resources must be like, whatever else changes: no keys, no old TLS, all names of the code."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox import seed, topology
from shared import rows, settings
from tests.infra.deployment import ROOT, Deployment

HOST_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
}
"""Settings that the Functions host or the exporter of telemetry reads."""


def differences(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> Iterator[str]:
    """Values that are not as expected; what is not named does not matter."""
    for key, wanted in expected.items():
        got = found.get(key)
        if isinstance(wanted, dict):
            yield from differences(got if isinstance(got, dict) else {}, wanted, f"{where}.{key}")
        elif got != wanted or (type(got) is bool and type(wanted) is not bool):
            yield f"{where}.{key} is {got!r}, not {wanted!r}"


def the_account_has_no_keys_and_no_public_blobs(deployment: Deployment) -> Iterator[str]:
    expected = {
        "allowBlobPublicAccess": False,
        "allowCrossTenantReplication": False,
        "allowSharedKeyAccess": False,
        "defaultToOAuthAuthentication": True,
        "isLocalUserEnabled": False,
        "minimumTlsVersion": "TLS1_2",
        "supportsHttpsTrafficOnly": True,
        "publicNetworkAccess": "Enabled",
        "networkAcls": {
            "bypass": "AzureServices",
            "defaultAction": "privateOnly ? 'Deny' : 'Allow'",
            "ipRules": [],
            "virtualNetworkRules": [],
        },
    }
    file = deployment.module("storage")
    account = file.resource("Microsoft.Storage/storageAccounts")
    yield from differences(account.properties, expected, "account")
    container = file.resource("Microsoft.Storage/storageAccounts/blobServices/containers")
    yield from differences(container.properties, {"publicAccess": "None"}, "container")
    (use,) = deployment.uses("storage")
    yield from differences(use.params, {"privateOnly": "vnetEnabled"}, "storage")


def queues_tables_and_containers_come_from_names(deployment: Deployment) -> Iterator[str]:
    file = deployment.module("storage")
    for type_name, part, name in (
        ("queueServices/queues", "queues", "queue"),
        ("tableServices/tables", "tables", "table"),
        ("blobServices/containers", "containers", "container"),
    ):
        one = file.resource(f"Microsoft.Storage/storageAccounts/{type_name}")
        if one.loop != f"{name} names.{part}" or one.body["name"] != name or one.condition:
            yield f"{part}: {one.loop} {one.condition}"
    if file.variables["names"].value != "loadJsonContent('../names.json')":
        yield "names are not names.json"


@functools.cache
def queues_of_the_code() -> set[str]:
    """Queues of the triggers, and the one for refusals."""
    found = {"rejected"}
    for path in (ROOT / "handlers").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["QUEUE"]:
                queue = ast.literal_eval(node.value)
                found |= {queue, f"{queue}-poison"}
    return found


def names_are_those_of_the_code(deployment: Deployment) -> Iterator[str]:
    names = deployment.json("names.json")
    queues, code = set(names["queues"]), queues_of_the_code()
    yield from (f"queue {name} is not made" for name in code - queues)
    yield from (f"queue {name} is nobody's" for name in queues - code)
    yield from (f"the local Azure lacks queue {name}" for name in queues - set(seed.QUEUES))
    yield from (f"{name} has no poison queue" for name in queues if not twin(name) & queues)
    if set(names["tables"]) != set(rows.TABLES):
        yield f"tables {set(names['tables']) ^ set(rows.TABLES)}"
    if len(queues) != len(names["queues"]):
        yield "a queue is named twice"
    for key in ("requestQueue", "eventQueue"):
        if names[key] not in queues:
            yield f"{key} {names[key]} is not made"
    if {names["packageContainer"], names["deadLetterContainer"]} != set(names["containers"]):
        yield f"containers {names['containers']}"
    if names["deadLetterContainer"] != topology.DEAD_LETTER_CONTAINER:
        yield f"the local Azure has dead letters in {topology.DEAD_LETTER_CONTAINER}"


def twin(queue: str) -> set[str]:
    """Queues of which one must exist beside this one."""
    if queue == "rejected":
        return {queue}
    return {queue.removesuffix("-poison")} if queue.endswith("-poison") else {f"{queue}-poison"}


def logs_take_no_keys(deployment: Deployment) -> Iterator[str]:
    file = deployment.module("monitoring")
    components = file.resource("Microsoft.Insights/components")
    yield from differences(components.properties, {"DisableLocalAuth": True}, "components")
    workspace = file.resource("Microsoft.OperationalInsights/workspaces")
    yield from differences(workspace.properties, {"features": {"disableLocalAuth": True}}, "workspace")


def the_app_is_closed_but_for_https_and_entra(deployment: Deployment) -> Iterator[str]:
    file = deployment.module("function-app")
    app = file.resource("Microsoft.Web/sites")
    yield from differences(
        app.body, {"kind": "functionapp,linux", "identity": {"type": "UserAssigned"}}, "app"
    )
    expected = {
        "httpsOnly": True,
        "siteConfig": {"ftpsState": "Disabled", "minTlsVersion": "1.2", "scmMinTlsVersion": "1.2"},
        "functionAppConfig": {
            "deployment": {
                "storage": {
                    "type": "blobContainer",
                    "value": "'${blobEndpoint}${names.packageContainer}'",
                    "authentication": {"type": "UserAssignedIdentity"},
                },
            },
            "runtime": {"name": "python", "version": "pythonVersion"},
            "scaleAndConcurrency": {
                "instanceMemoryMB": "instanceMemoryMb",
                "maximumInstanceCount": "maximumInstanceCount",
            },
        },
    }
    yield from differences(app.properties, expected, "app")
    plan = file.resource("Microsoft.Web/serverfarms")
    yield from differences(plan.body, {"sku": {"name": "FC1", "tier": "FlexConsumption"}}, "plan")
    policies = [
        one for one in file.resources if one.type == "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
    ]
    if {one.body["name"] for one in policies} != {"ftp", "scm"}:
        yield f"publishing passwords: {[one.body['name'] for one in policies]}"
    for one in policies:
        yield from differences(one.properties, {"allow": False}, one.name)


def python_is_the_tested_one_and_sizes_are_parameters(deployment: Deployment) -> Iterator[str]:
    params = deployment.main.params
    tested = (deployment.root / ".python-version").read_text(encoding="utf-8").strip()
    defaults = {"pythonVersion": tested, "instanceMemoryMb": 2048, "maximumInstanceCount": 40}
    for name, default in defaults.items():
        if params[name].value != default:
            yield f"{name} is {params[name].value}"
    (use,) = deployment.uses("function-app")
    yield from differences(use.params, {name: name for name in defaults}, "app")


def the_account_is_one_that_every_region_has(deployment: Deployment) -> Iterator[str]:
    """Flex Consumption is offered in regions without zones too, which have no zone-redundant accounts."""
    if deployment.main.params["storageSku"].value != "Standard_LRS":
        yield f"redundancy is {deployment.main.params['storageSku'].value}"
    given = deployment.json("main.parameters.json")["parameters"].get("storageSku", {}).get("value")
    if given != "${MOORING_STORAGE_SKU=Standard_LRS}":
        yield f"azd sets {given}"
    (use,) = deployment.uses("storage")
    yield from differences(use.params, {"sku": "storageSku"}, "storage")


def settings_are_those_that_the_app_reads(deployment: Deployment) -> Iterator[str]:
    (use,) = deployment.uses("function-app")
    found = settings_in(use.params["settings"])
    config = deployment.module("function-app").resource("Microsoft.Web/sites/config")
    found |= settings_in(config.body["properties"])
    known = set(settings.variables())
    yield from (f"nobody reads {name}" for name in found - known - HOST_SETTINGS)
    yield from (f"the host needs {name}" for name in HOST_SETTINGS - found)
    yield from (f"the app needs {name}" for name in required() - found)
    wanted = {"AZURE_CLIENT_ID", "MOORING_DEAD_LETTER_CONTAINER"}
    yield from (f"{name} is left to its default" for name in wanted - found)
    if "AzureWebJobsStorage__credential: 'managedidentity'" not in config.body["properties"]:
        yield "the host does not use the identity"


def settings_in(text: str) -> set[str]:
    """Names in ``union(..., { NAME: value ... })``."""
    _, _, inner = text.partition("{")
    words = inner.replace("}", " ").split()
    return {word.removesuffix(":") for word in words if word.endswith(":")}


def required() -> set[str]:
    """Settings without a default."""
    fields = settings.dataclasses.fields(settings.Settings)
    return {field.metadata["variable"] for field in fields if field.metadata["default"] is None}


def private_ways_lead_to_all_three_services(deployment: Deployment) -> Iterator[str]:
    file = deployment.module("private-endpoints")
    if file.variables["services"].value != ["blob", "queue", "table"]:
        yield f"services {file.variables['services'].value}"
    zones = file.resource("Microsoft.Network/privateDnsZones")
    if zones.body["name"] != "'privatelink.${service}.${environment().suffixes.storage}'":
        yield f"zone {zones.body['name']}"
    (use,) = deployment.uses("private-endpoints")
    if use.condition != "(vnetEnabled)":
        yield f"made if {use.condition}"
    network = deployment.module("network").resource("Microsoft.Network/virtualNetworks")
    subnets = {one["name"]: one["properties"] for one in network.properties["subnets"]}
    (delegation,) = subnets["app"].get("delegations", [{}])
    expected = {"properties": {"serviceName": "Microsoft.App/environments"}}
    yield from differences(delegation, expected, "delegation")


RULES = (
    the_account_has_no_keys_and_no_public_blobs,
    queues_tables_and_containers_come_from_names,
    names_are_those_of_the_code,
    logs_take_no_keys,
    the_app_is_closed_but_for_https_and_entra,
    python_is_the_tested_one_and_sizes_are_parameters,
    the_account_is_one_that_every_region_has,
    settings_are_those_that_the_app_reads,
    private_ways_lead_to_all_three_services,
)
