"""A refusal by the policy has the rule that would allow it; an unreadable policy refuses whatever is new."""

import pytest

from shared import naming
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, POLICY, LocalApp, create_body, delete_body
from tests.unit.test_intake import BAD, EMPTY, ID, IDENTITY, with_connection


@pytest.mark.parametrize("what", [name for name, (_, code, _, _) in BAD.items() if code.startswith("policy")])
async def test_what_the_policy_denies_is_found_by_the_senders_own_key_with_the_rule_that_would_allow_it(
    app: LocalApp, what: str
):
    await app.send({**BAD[what][0], "requestId": "r-1"})
    [refusal] = await HttpApp(app).operations(requestId="r-1")
    assert (refusal["code"], refusal["requestId"], refusal["kind"]) == ("policy-denied", "r-1", "create")
    assert "[[allow]]" in refusal["remedy"]


async def test_a_refusal_is_found_by_the_id_of_its_message(app: LocalApp):
    await app.send(with_connection(identityId=IDENTITY), message_id="m-77")
    [refusal] = await HttpApp(app).operations(requestId="m-77")
    assert refusal["code"] == "policy-denied"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\n[[allow]\n", "line 2"),
        ("version = 2\n", "version = 1 is required"),
        ('version = 1\n[[allow]]\nclusters = ["x"]\n', "line"),
        (None, "FileNotFoundError"),
    ],
)
async def test_an_unreadable_policy_refuses_requests_until_it_is_mended(
    app: LocalApp, text: str | None, said: str
):
    http = HttpApp(app)
    await app.send(create_body("before"), message_id="before")
    await app.settle()
    if text is None:
        app.policy_file.unlink()
    else:
        app.policy_file.write_text(text)
    record = await app.send(create_body())
    assert (record.outcome, record.code) == ("rejected", "policy-unreadable")
    assert said in record.detail
    assert record.remedy
    status, problem, _ = await http.call("post_connection", body=create_body("by-http"))
    assert (status, problem["code"]) == (503, "policy-unreadable")
    assert len(await http.operations(state="rejected")) == 2
    # What is there goes on, and can go.
    before = naming.connection_id(CLUSTER, "shop", "before")
    assert (
        await app.send({"action": "validate", "connectionId": before}, message_id="v")
    ).outcome == "opened"
    assert (await app.send(delete_body("before"), message_id="d")).outcome == "opened"
    await app.settle()
    assert await app.state(before) == "deleted"
    assert app.leftovers() == EMPTY
    app.policy_file.write_text(POLICY)
    assert (await app.send(create_body(), message_id="m-2")).outcome == "opened"
    await app.settle()
    assert await app.state(ID) == "configured"
