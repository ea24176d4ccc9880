"""A service account that the request names gets one annotation and loses it again; it is its owner's."""

import pytest

from shared import naming
from shared.models import ConnectionId
from tests.fakes.given_account import (
    ACCOUNT,
    CLIENT_ID,
    ID,
    OTHERS,
    account,
    allow,
    client_id,
    findings,
    make_account,
    named,
    remove,
)
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    LocalApp,
    create_body,
)
from tests.fakes.looks import bad, looked
from tests.fakes.sweeps import connected, swept


@pytest.fixture
def theirs(app: LocalApp) -> LocalApp:
    allow(app)
    make_account(app)
    return app


async def test_a_named_account_gets_one_annotation_and_gives_it_back(theirs: LocalApp):
    before = await account(theirs)
    await connected(theirs, serviceAccount=ACCOUNT)
    during = await account(theirs)
    assert dict(during.annotations) == {**OTHERS, CLIENT_ID: await client_id(theirs)}
    assert (during.uid, dict(during.labels)) == (before.uid, {})
    [credential] = [one for held in theirs.world.credentials.values() for one in held.values()]
    assert credential.subject == f"system:serviceaccount:shop:{ACCOUNT}"
    await remove(theirs)
    after = await account(theirs)
    assert (after.uid, dict(after.annotations)) == (before.uid, OTHERS)
    left = theirs.leftovers()
    assert left == {
        "identities": [],
        "assignments": [],
        "objects": [f"ServiceAccount shop/{ACCOUNT}"],
        "users": [],
    }


async def test_manifest_plan_and_connection_name_the_given_account(theirs: LocalApp):
    http = HttpApp(theirs)
    _, plan, _ = await http.call("plan_connection", body=create_body(serviceAccount=ACCOUNT))
    assert plan["result"] == "ok"
    assert (plan["serviceAccount"]["name"], plan["serviceAccount"]["provenance"]) == (ACCOUNT, "provided")
    assert plan["federatedCredential"]["subject"] == f"system:serviceaccount:shop:{ACCOUNT}"
    await connected(theirs, serviceAccount=ACCOUNT)
    _, shown, _ = await http.call("get_connection", connectionId=ID)
    assert shown["kubernetes"]["serviceAccount"] == ACCOUNT
    assert shown["serviceAccount"] == ACCOUNT
    status, text, _ = await http.call("get_manifest", connectionId=ID, params={"kind": "deployment"})
    assert status == 200
    assert f'serviceAccountName: "{ACCOUNT}"' in str(text)


async def test_an_account_that_no_rule_lists_is_refused_with_the_rule_that_would_allow_it(app: LocalApp):
    make_account(app)
    record = await app.send(create_body(serviceAccount=ACCOUNT))
    assert (record.code, record.field) == ("policy-denied", "connection.serviceAccount")
    assert f'service_accounts = ["{ACCOUNT}"]' in record.remedy
    allow(app, "other-*")
    assert (await app.send(create_body(serviceAccount=ACCOUNT), message_id="2")).code == "policy-denied"
    text = app.policy_file.read_text().replace("other-*", "Orders/SA")
    app.policy_file.write_text(text)
    assert (await app.send(create_body(serviceAccount=ACCOUNT), message_id="3")).code == "policy-unreadable"


@pytest.mark.parametrize(
    ("name", "metadata", "code", "remedy"),
    [
        ("", {}, "service-account-missing", f"kubectl create serviceaccount {ACCOUNT} --namespace shop"),
        (
            ACCOUNT,
            {"annotations": {CLIENT_ID: "another"}},
            "service-account-taken",
            f"kubectl annotate serviceaccount {ACCOUNT} {CLIENT_ID}- --namespace shop",
        ),
        (
            ACCOUNT,
            {"labels": {"app.kubernetes.io/managed-by": "mooring"}},
            "service-account-taken",
            "leave serviceAccount out",
        ),
        ("sc-account-x", {}, "service-account-taken", "leave serviceAccount out"),
    ],
)
async def test_what_is_not_free_is_refused_before_anything_is_made(
    app: LocalApp,
    name: str,
    metadata: dict[str, dict[str, str]],
    code: str,
    remedy: str,
):
    allow(app, "*")
    if name:
        app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", name, **metadata)
    before = app.leftovers()
    asked = name or ACCOUNT
    _, found = await looked(app, serviceAccount=asked)
    assert bad(found) == {"service-account-free": "failed"}
    assert remedy in found["service-account-free"].remedy
    await app.send(create_body(serviceAccount=asked))
    await app.settle()
    [operation] = await app.operations(ID)
    assert (operation.state.value, operation.code) == ("failed", code)
    assert remedy in operation.remedy
    assert app.leftovers() == before


async def test_two_connections_of_a_workload_share_the_account_and_the_last_one_takes_its_mark(
    theirs: LocalApp,
):
    await connected(theirs, serviceAccount=ACCOUNT)
    await connected(theirs, "orders-more", serviceAccount=ACCOUNT)
    own = await client_id(theirs)
    await remove(theirs)
    assert await named(theirs) == own
    await remove(theirs, "orders-more")
    assert await named(theirs) == ""


async def test_another_workload_cannot_have_the_account_too(theirs: LocalApp):
    await connected(theirs, serviceAccount=ACCOUNT)
    await theirs.send(create_body("other", workload="other", serviceAccount=ACCOUNT), message_id="o")
    await theirs.settle()
    other = ConnectionId(naming.connection_id(CLUSTER, "shop", "other"))
    assert [one.code for one in await theirs.operations(other)] == ["service-account-taken"]


async def test_a_validation_says_what_is_wrong_with_the_account_and_a_repair_mends_it(theirs: LocalApp):
    await connected(theirs, serviceAccount=ACCOUNT)
    assert await findings(theirs) == {}
    objects = theirs.world.clusters[naming.fold_id(CLUSTER)].objects
    del objects["ServiceAccount", "shop", ACCOUNT]
    found = await findings(theirs)
    assert set(found) == {"service-account-exists"}
    assert found["service-account-exists"]["remedy"].startswith("kubectl create serviceaccount orders-sa")
    make_account(theirs)
    found = await findings(theirs)
    assert set(found) == {"service-account-annotation"}
    assert found["service-account-annotation"]["remedy"].endswith("/repair")
    await theirs.send({"action": "repair", "connectionId": ID}, message_id="r")
    await theirs.settle()
    assert await findings(theirs) == {}
    assert await named(theirs) == await client_id(theirs)
    make_account(theirs, **{CLIENT_ID: "another"})
    found = await findings(theirs)
    assert set(found) == {"service-account-annotation"}
    assert "kubectl annotate serviceaccount" in found["service-account-annotation"]["remedy"]
    await remove(theirs)
    assert await named(theirs) == "another", "somebody else's by now"
    assert theirs.leftovers()["users"] == []


async def test_an_account_cannot_be_changed_by_an_update(theirs: LocalApp):
    await connected(theirs)
    record = await theirs.send({**create_body(serviceAccount=ACCOUNT), "action": "update"}, message_id="u")
    assert (record.code, record.field) == ("cannot-change", "connection.serviceAccount")


async def test_an_account_that_changes_meanwhile_is_looked_at_again(theirs: LocalApp):
    struck: list[str] = []

    def rule(call: Call) -> BaseException | None:
        if call.name == "clusters.apply" and not struck:
            struck.append(call.name)
            make_account(theirs, note="new")
        return None

    theirs.journal.before = rule
    await connected(theirs, serviceAccount=ACCOUNT)
    assert dict((await account(theirs)).annotations) == {
        **OTHERS,
        "note": "new",
        CLIENT_ID: await client_id(theirs),
    }


async def test_a_sweep_tells_a_mark_that_is_gone_and_nothing_of_what_is_the_owners(theirs: LocalApp):
    await connected(theirs, serviceAccount=ACCOUNT)
    make_account(theirs, note="new")
    assert "drift" not in (await swept(theirs))["totals"]
    objects = theirs.world.clusters[naming.fold_id(CLUSTER)].objects
    del objects["ServiceAccount", "shop", ACCOUNT]
    assert (await swept(theirs))["totals"]["drift"] == {"object-missing": 1}
    make_account(theirs)
    assert (await swept(theirs))["totals"]["drift"] == {"object-edited": 1}
