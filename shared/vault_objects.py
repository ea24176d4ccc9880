"""What a SecretProviderClass says: whose identity reads which objects of which vault.

Its parameters are those of the provider ``azure`` with workload identity (learn.microsoft.com/azure/aks,
csi-secrets-store-identity-access; azure.github.io/secrets-store-csi-driver-provider-azure). None of them is a
credential: the driver reads the vault with the token of the pod's own service account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from shared import templates
from shared.errors import PermanentError
from shared.spec import ConnectionSpec

_CLOUDS = (
    (".vault.azure.cn/", "AzureChinaCloud"),
    (".vault.usgovcloudapi.net/", "AzureUSGovernmentCloud"),
    ("", "AzurePublicCloud"),
)
"""The provider's names of clouds, by how the URLs of their vaults end."""


def parameters(wanted: Mapping[str, str], spec: ConnectionSpec, facts: Mapping[str, str]) -> dict[str, str]:
    """Parameters of the class.

    Args:
        wanted: their templates.
        spec: what was asked for.
        facts: names of the vault's id, its ``endpoint`` and ``tenantId``, and the identity's ``clientId``.

    Raises:
        PermanentError: ``endpoint-missing`` if Azure's answer did not tell the vault's tenant.
    """
    if not facts.get("tenantId"):
        raise PermanentError("endpoint-missing", f"{spec.target_id} has no properties.tenantId")
    cloud = next(name for end, name in _CLOUDS if facts["endpoint"].endswith(end))
    return {
        name: templates.fill(template, {**facts, "cloud": cloud, "objects": listed(spec.vault_objects)})
        for name, template in wanted.items()
    }


def listed(objects: Mapping[str, Mapping[str, str]]) -> str:
    """The parameter ``objects``: YAML with an array of texts that are YAML themselves, in order of files."""
    lines = ["array:"]
    for file, one in sorted(objects.items()):
        # JSON strings are YAML strings, also where a name is all digits and would read as a number.
        lines += [
            "  - |",
            f"    objectName: {json.dumps(one['name'])}",
            f"    objectAlias: {json.dumps(file)}",
            f"    objectType: {json.dumps(one['type'])}",
        ]
    return "\n".join([*lines, ""])
