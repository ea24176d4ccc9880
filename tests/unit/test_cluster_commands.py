"""Commands for a cluster's owner name it as ``az aks`` takes it."""

from collections.abc import Callable

import pytest

from shared import cluster_commands
from tests.fakes.local_app import CLUSTER, SUBSCRIPTION


@pytest.mark.parametrize(
    ("command", "verb"),
    [
        (cluster_commands.start, "start"),
        (cluster_commands.show, "show"),
        (cluster_commands.enable_workload_identity, "update --enable-oidc-issuer --enable-workload-identity"),
        (cluster_commands.enable_entra, "update --enable-aad"),
        (cluster_commands.enable_secrets_store, "enable-addons --addons azure-keyvault-secrets-provider"),
    ],
)
def test_a_cluster_is_named_by_subscription_group_and_name(command: Callable[[str], str], verb: str):
    assert command(CLUSTER) == f"az aks {verb} --subscription {SUBSCRIPTION} -g rg -n aks1"
    assert command(CLUSTER.upper()).endswith(f"--subscription {SUBSCRIPTION} -g RG -n AKS1")
