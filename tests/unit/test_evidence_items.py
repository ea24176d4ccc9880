"""What a prune says of each thing, and what it leaves whatever its cause: the guards that are its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared import naming
from shared.errors import NotYetError, TransientError
from shared.models import Intent, Kind, Plan, Provenance
from shared.prune_rules import RULES
from shared.steps.base import ANNOTATION_KEEP, ANNOTATION_NONCE, LABEL_MANAGED_BY
from shared.steps.objects import USE_LISTS, remove_object
from shared.steps.removal import OUTPUT_CHARACTERS, Removal
from tests.fakes.local_app import CLUSTER, POLICY, LocalApp, make_app
from tests.fakes.step_bench import Bench

PROTECTING = POLICY.replace("[[allow]]", '[protected]\nnamespaces = ["shop"]\n[[allow]]')
OBJECTS = {"settings": "Secret", "service_account": "ServiceAccount"}
steps = pytest.mark.parametrize("step", list(OBJECTS))


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path)


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def objects(app: LocalApp) -> set[str]:
    return {key[0] for key in app.world.clusters[naming.fold_id(CLUSTER)].objects}


@steps
async def test_a_removed_object_is_recorded_with_rule_proof_use_and_whether_it_comes_back(
    bench: Bench, step: str
):
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert(step)).outputs["removed"]
    assert (item["rule"], item["restorable"], item["found"]) == ("proven-by-uid", "yes", True)
    assert item["proof"] == {"by": "uid", "uid": item["uid"]}
    assert item["use"] == {"lists": list(USE_LISTS), "users": 0, "at": bench.app.clock.now().isoformat()}
    [saved] = await bench.app.services.prunes.saved(bench.operation.operation_id)
    assert (saved.uid, saved.restorable) == (item["uid"], True)
    assert saved.issuer == bench.intents["preflight"].outputs["issuer"]


@steps
async def test_an_object_is_saved_before_it_is_removed(bench: Bench, step: str):
    bench.become(Kind.PRUNE)
    bench.app.journal.before = lambda call: (
        TransientError("crash") if call.name == "clusters.delete" else None
    )
    with pytest.raises(TransientError, match="crash"):
        await bench.revert(step)
    [saved] = await bench.app.services.prunes.saved(bench.operation.operation_id)
    assert saved.kind == OBJECTS[step]
    assert OBJECTS[step] in objects(bench.app)


@steps
async def test_a_delete_that_was_asked_for_saves_nothing_and_asks_for_no_use(bench: Bench, step: str):
    bench.become(Kind.DELETE)
    [item] = (await bench.revert(step)).outputs["removed"]
    assert not {"use", "restorable"} & set(item)
    assert await bench.app.services.prunes.saved(bench.operation.operation_id) == []


@steps
async def test_a_protected_namespace_is_not_touched_and_not_even_read(bench: Bench, step: str):
    bench.app.policy_file.write_text(PROTECTING)
    bench.become(Kind.PRUNE)
    bench.app.journal.calls.clear()
    [kept] = (await bench.revert(step)).outputs["kept"]
    assert kept["rule"] == "protected-namespace"
    assert OBJECTS[step] in objects(bench.app)
    assert not {"clusters.get", "clusters.list_uses", "clusters.delete"} & set(bench.app.journal.names())
    bench.become(Kind.DELETE)
    if step == "settings":
        await bench.revert(step)
        assert OBJECTS[step] not in objects(bench.app), "a person may"


@pytest.mark.parametrize(
    "step", ["role_assignments", "federated_credential", "settings", "service_account", "managed_identity"]
)
async def test_a_policy_that_cannot_be_read_holds_every_removal(bench: Bench, step: str):
    bench.app.policy_file.write_text("half a policy")
    bench.become(Kind.PRUNE)
    before = bench.world()
    with pytest.raises(NotYetError) as held:
        await bench.revert(step)
    assert (held.value.reason, held.value.seconds) == ("policy-unreadable", 300)
    assert bench.world() == before
    bench.app.policy_file.write_text(POLICY)
    if step == "managed_identity":
        await bench.revert("federated_credential")  # which trusts in it
    assert (await bench.revert(step)).outputs["removed"]


async def test_a_delete_needs_no_policy(bench: Bench):
    bench.app.policy_file.write_text("half a policy")
    bench.become(Kind.DELETE)
    assert (await bench.revert("settings")).outputs["removed"]


async def test_the_account_default_is_never_pruned(bench: Bench):
    thing = bench.app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", "default")
    plan = Plan(
        planned={"namespace": "shop", "name": "default", "provenance": Provenance.OBSERVED},
        outputs={"uid": thing.uid},
    )
    bench.become(Kind.PRUNE)
    removal = Removal()
    await remove_object(bench.context("service_account"), removal, "ServiceAccount", plan)
    assert [one["rule"] for one in removal.kept] == ["protected-object"]


@pytest.mark.parametrize("name", ["aks-identity-binding-1", "AKS-Identity-Binding"])
async def test_a_credential_of_aks_is_never_pruned(bench: Bench, name: str):
    known = bench.intents["federated_credential"]
    bench.intents["federated_credential"] = known.model_copy(
        update={"planned": {**known.planned, "name": name}}
    )
    bench.become(Kind.PRUNE)
    [kept] = (await bench.revert("federated_credential")).outputs["kept"]
    assert (kept["rule"], kept["name"]) == ("protected-object", name)
    assert len(bench.app.world.credentials) == 1


@steps
async def test_what_somebody_made_anew_after_a_prune_is_reported_and_not_fought(bench: Bench, step: str):
    bench.become(Kind.PRUNE)
    name = str(bench.intents[step].planned["name"])
    await bench.revert(step)
    back = bench.app.clusters.put_object(CLUSTER, OBJECTS[step], "shop", name)
    [returned] = (await bench.apply("verify_gone")).outputs["returned"]
    assert (returned["rule"], returned["uid"], returned["name"]) == ("object-returned", back.uid, name)
    assert OBJECTS[step] in objects(bench.app)


@pytest.mark.parametrize("wish", ["", "keep-annotation", "mark-removed"])
async def test_a_late_write_of_ours_is_still_removed_and_one_that_is_kept_is_reported(
    bench: Bench, wish: str
):
    name, nonce = "sc-ordersblob-secret", str(bench.intents["settings"].planned["nonce"])
    bench.become(Kind.PRUNE)
    await bench.revert("settings")
    annotations = {ANNOTATION_NONCE: nonce, **({ANNOTATION_KEEP: "x"} if wish == "keep-annotation" else {})}
    labels = {} if wish == "mark-removed" else {LABEL_MANAGED_BY: naming.MANAGED_BY}
    bench.app.clusters.put_object(CLUSTER, "Secret", "shop", name, annotations=annotations, labels=labels)
    if not wish:
        with pytest.raises(TransientError, match="came-back"):
            await bench.apply("verify_gone")
        assert "Secret" not in objects(bench.app)
        return
    [returned] = (await bench.apply("verify_gone")).outputs["returned"]
    assert returned["rule"] == "object-returned"
    await bench.revert("settings")
    assert "Secret" in objects(bench.app)


@pytest.mark.parametrize(
    ("cause", "uid", "rules"),
    [("target", "its", ["mark-removed"]), ("orphan", "another", ["mark-removed"]), ("orphan", "its", [])],
)
async def test_what_lost_our_mark_goes_only_as_an_orphan_that_a_person_named_by_its_uid(
    bench: Bench, cause: str, uid: str, rules: list[str]
):
    there = bench.app.clusters.put_object(
        CLUSTER, "ServiceAccount", "shop", "a", annotations={ANNOTATION_NONCE: "n"}
    )
    plan = Plan(
        planned={"namespace": "shop", "name": "a", "provenance": Provenance.OBSERVED},
        outputs={"uid": there.uid if uid == "its" else uid},
    )
    bench.become(Kind.PRUNE, cause=cause)
    removal = Removal()
    ctx = bench.context("service_account")
    await remove_object(ctx, removal, "ServiceAccount", plan, known={"nonce": "n"})
    assert [one["rule"] for one in removal.kept] == rules


async def test_a_report_says_who_else_uses_what_it_would_leave(app: LocalApp):
    one, other = Bench(app), Bench(app, "second")
    for bench in (one, other):
        await bench.up_to("settings")
    one.become(Kind.PRUNE, report_only=True)
    before = one.world()
    shared = ("role_assignments", "federated_credential", "service_account", "managed_identity")
    for step in shared:
        outputs = (await one.revert(step)).outputs
        assert [item["rule"] for item in outputs["kept"]] == ["still-shared"], step
    [would] = (await one.revert("settings")).outputs["would"]
    assert (would["act"], would["rule"], would["restorable"]) == ("delete", "proven-by-uid", "yes")
    assert one.world() == before
    assert app.store.rows("prunes") == []


async def test_a_report_says_what_goes_with_its_last_user_and_that_it_does_not_come_back(bench: Bench):
    bench.become(Kind.PRUNE, report_only=True)
    for step in ("role_assignments", "federated_credential", "managed_identity"):
        [would] = (await bench.revert(step)).outputs["would"]
        assert (would["rule"], would["restorable"]) == ("last-user", "no"), step
        assert "create request" in would["why"]


async def test_a_held_object_says_whether_it_could_be_put_back(bench: Bench):
    spec = {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "sc-ordersblob-secret"}}]}]}
    bench.app.clusters.put_pod(CLUSTER, "shop", "p", spec)
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match="used by Pod p; can be restored: yes"):
        await bench.revert("settings")
    name = "sc-ordersblob-secret"
    bench.app.clusters.put_object(CLUSTER, "Secret", "shop", name, data={"OWN": "x"})
    with pytest.raises(NotYetError, match="can be restored: no, the catalogue does not know 1 of its keys"):
        await bench.revert("settings")


def many(count: int) -> Removal:
    removal = Removal()
    for number in range(count):
        item = {"kind": "Secret", "thing": "", "namespace": "shop", "name": f"s-{number}", "nonces": ["n"]}
        use = {"lists": list(USE_LISTS), "users": 0}
        removal.remove(item, "already-gone", "a long detail " * 4, found=False, use=use)
    return removal


def test_outputs_that_would_not_fit_into_a_row_are_cut_to_what_later_steps_need():
    assert "trimmed" not in many(3).done().outputs
    cut = many(120).done().outputs
    assert (cut["trimmed"], len(cut["removed"]), "dropped" in cut) == (True, 120, False)
    assert set(cut["removed"][0]) == {"kind", "thing", "namespace", "name", "nonces", "rule", "found"}
    dropped = many(500).done().outputs
    assert dropped["dropped"] == 500 - len(dropped["removed"]) > 0
    assert len(json.dumps(dropped)) <= OUTPUT_CHARACTERS + 100


async def test_every_item_of_a_whole_prune_has_a_rule_of_the_table(bench: Bench):
    bench.become(Kind.PRUNE)
    for step in (
        "role_assignments",
        "federated_credential",
        "settings",
        "service_account",
        "managed_identity",
    ):
        for items in (await bench.revert(step)).outputs.values():
            assert {item["rule"] for item in items} <= set(RULES)


async def test_an_old_plan_of_another_identity_is_no_record_of_this_one(bench: Bench):
    known = bench.intents["service_account"]
    earlier = Intent(
        connection_id=bench.connection.connection_id,
        step="service_account",
        generation=1,
        planned={**known.planned, "name": "sc-account-earlier"},
    )
    bench.intents["service_account"] = known.model_copy(update={"previous": earlier.plans()})
    bench.app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", "sc-account-earlier")
    bench.become(Kind.PRUNE)
    outputs = (await bench.revert("service_account")).outputs
    assert [item["rule"] for item in outputs["kept"]] == ["not-proven-ours"]
    assert [item["rule"] for item in outputs["removed"]] == ["proven-by-uid"]


def test_cut_outputs_still_say_what_was_adopted():
    """``verify_gone`` removes again what came back, unless its owner may have made it anew."""
    removal = Removal()
    for number in range(200):
        item = {"kind": "role", "thing": f"r-{number}", "provenance": "adopted", "principalId": "p" * 80}
        removal.remove(item, "last-user")
    cut = removal.done().outputs
    assert cut["trimmed"]
    assert {one["provenance"] for one in cut["removed"]} == {"adopted"}


async def test_what_was_removed_before_rules_were_recorded_is_verified_all_the_same(bench: Bench):
    bench.become(Kind.DELETE)
    items = (await bench.revert("settings")).outputs["removed"]
    bench.done["settings"] = {
        "removed": [{name: value for name, value in one.items() if name != "rule"} for one in items]
    }
    assert (await bench.apply("verify_gone")).outputs == {"verified": ["Secret"]}
