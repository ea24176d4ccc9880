"""A pod of the sandbox is created as a controller would: told to come again, it comes again."""

from typing import Any, cast

import pytest

from sandbox import pod as pods
from sandbox.contract import Contract
from sandbox.node import Cluster
from sandbox.pod_spec import Object, PodRefusedError

MANIFEST: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "shop", "namespace": "orders"},
    "spec": {"serviceAccountName": "just-made", "containers": [{"name": "shop", "image": "shop:1"}]},
}
AGAIN: Object = {
    "reason": "ServerTimeout",
    "message": "No API token found",
    "details": {"retryAfterSeconds": 0},
}


class ScriptedCluster:
    """Answers a pod's creation with what a test says, then with the pod."""

    def __init__(self, *answers: tuple[int, Object]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def call(self, method: str, path: str, body: Object | None = None) -> tuple[int, Object]:
        if method == "GET":
            return 200, {"metadata": {"name": "just-made", "annotations": {}}}
        self.asked += 1
        return self.answers.pop(0) if self.answers else (201, body or {})


class AnyContract:
    """What admission reads of the contract."""

    tenant_id, entra_url = "tenant", "https://entra"


async def create(cluster: ScriptedCluster) -> dict[str, Any]:
    return await pods.create_pod(cast("Cluster", cluster), cast("Contract", AnyContract()), MANIFEST)


async def test_an_account_without_a_token_yet_is_asked_for_again():
    cluster = ScriptedCluster((500, AGAIN), (500, AGAIN))
    assert (await create(cluster))["metadata"]["name"] == "shop"
    assert cluster.asked == 3


async def test_one_that_never_gets_a_token_is_refused_with_the_reason():
    cluster = ScriptedCluster(*[(500, AGAIN)] * 20)
    with pytest.raises(PodRefusedError, match="No API token found"):
        await create(cluster)
    assert cluster.asked == pods.CREATE_TRIES


async def test_any_other_answer_is_final():
    cluster = ScriptedCluster((500, {"message": "broken"}))
    with pytest.raises(PodRefusedError, match="broken"):
        await create(cluster)
    assert cluster.asked == 1
