"""A prune deletes an identity only if nothing trusts in it any more: a credential goes with its identity."""

import pytest

from shared import naming
from shared.models import Kind
from shared.ports import Credential
from tests.fakes.local_app import LocalApp
from tests.fakes.step_bench import Bench


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


async def somebody_trusts(bench: Bench, name: str) -> str:
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    theirs = Credential(name=name, issuer="https://x", subject="s", audiences=(naming.AUDIENCE,))
    await bench.app.services.engine.outside.identities.ensure_credential(identity_id, theirs)
    return identity_id


@pytest.mark.parametrize(
    ("name", "rule"), [("their-pipeline", "in-use"), ("AKS-identity-binding-1", "protected-object")]
)
async def test_an_identity_that_somebody_else_works_through_outlives_the_target(
    bench: Bench, name: str, rule: str
):
    identity_id = await somebody_trusts(bench, name)
    bench.become(Kind.PRUNE)
    await bench.revert("federated_credential")
    kept = (await bench.revert("managed_identity")).outputs["kept"]
    assert [one["rule"] for one in kept] == [rule]
    left = await bench.app.services.engine.outside.identities.list_credentials(identity_id)
    assert [one.name for one in left] == [name]


async def test_a_list_that_still_shows_our_own_credential_keeps_no_identity(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    identities = bench.app.services.engine.outside.identities
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    before = await identities.list_credentials(identity_id)
    assert before

    async def stale(_: str) -> list[Credential]:
        return before

    bench.become(Kind.PRUNE)
    await bench.revert("federated_credential")
    monkeypatch.setattr(identities, "list_credentials", stale)
    await bench.revert("managed_identity")
    assert await identities.get(identity_id) is None


async def test_a_delete_by_request_takes_the_identity_all_the_same(bench: Bench):
    identity_id = await somebody_trusts(bench, "their-pipeline")
    bench.become(Kind.DELETE)
    await bench.revert("federated_credential")
    await bench.revert("managed_identity")
    assert await bench.app.services.engine.outside.identities.get(identity_id) is None
