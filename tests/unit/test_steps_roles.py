"""Which roles a connection gets: by intent, on a part, by the target's kind, and no more than asked last."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Kind
from shared.ports import Linker
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp
from tests.fakes.step_bench import Bench

CONTAINER = f"{STORAGE}/blobServices/default/containers/reports"
ACCOUNT = f"{GROUP}/providers/Microsoft.CognitiveServices/accounts/ai"
SERVER = f"{GROUP}/providers/Microsoft.Sql/servers/srv"
CONTRIBUTOR, READER = "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
OPENAI_USER, COGNITIVE_USER = "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd", "a97b65f3-24c7-4388-baec-2e87135dc908"


@pytest.fixture
def app(app: LocalApp) -> LocalApp:
    app.world.add_resource(CONTAINER)
    return app


def granted(app: LocalApp) -> set[tuple[str, str]]:
    """Folded scope and role GUID of every assignment there is."""
    return {
        (scope, one.role_definition_id.rsplit("/", 1)[-1])
        for (scope, _), one in app.world.assignments.items()
    }


def wish(bench: Bench, **changes: str) -> None:
    """Another create of the same connection, with another spec."""
    spec = bench.connection.spec.model_copy(update=changes)
    bench.connection = bench.connection.model_copy(update={"spec": spec})
    bench.become(Kind.CREATE)


async def test_without_an_intent_the_roles_are_service_connectors(app: LocalApp):
    await Bench(app).up_to("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), CONTRIBUTOR)}


async def test_an_intent_gives_the_narrowest_role(app: LocalApp):
    await Bench(app, intent="read").up_to("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), READER)}


async def test_a_part_in_the_targets_id_is_the_scope_and_the_whole_is_what_must_exist(app: LocalApp):
    bench = Bench(app, target_id=CONTAINER)
    await bench.up_to("role_assignments")
    assert granted(app) == {(naming.fold_id(CONTAINER), CONTRIBUTOR)}
    assert ("target", STORAGE) in bench.dependents
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    assert granted(app) == set()


@pytest.mark.parametrize(("kind", "role"), [("OpenAI", OPENAI_USER), ("TextAnalytics", COGNITIVE_USER)])
async def test_the_roles_follow_the_kind_that_azure_answers(app: LocalApp, kind: str, role: str):
    properties = {"endpoint": "https://ai.example.azure.com/", "customSubDomainName": "ai"}
    answer = {"kind": kind, "properties": properties}
    app.world.add_resource(ACCOUNT, answer)
    bench = Bench(app, target_type="cognitiveservices", target_id=ACCOUNT, intent="read")
    await bench.up_to("role_assignments")
    assert granted(app) == {(naming.fold_id(ACCOUNT), role)}


async def test_a_create_that_asks_for_less_revokes_the_wider_role(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    wish(bench, intent="read")
    await bench.apply("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), READER)}
    wish(bench, intent="", target_id=CONTAINER)
    await bench.apply("role_assignments")
    assert granted(app) == {(naming.fold_id(CONTAINER), CONTRIBUTOR)}
    wish(bench, target_id=STORAGE)
    await bench.apply("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), CONTRIBUTOR)}, "a role that was given up may come back"
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    assert app.leftovers()["assignments"] == []
    assert not [row for row in app.store.rows("users") if '"role|' in str(row.columns["body"])]


async def test_the_wider_role_stays_while_another_connection_of_the_workload_has_it(app: LocalApp):
    first, second = Bench(app), Bench(app, "orders-more")
    await first.up_to("role_assignments")
    await second.up_to("role_assignments")
    wish(first, intent="read")
    await first.apply("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), READER), (naming.fold_id(STORAGE), CONTRIBUTOR)}
    second.become(Kind.DELETE)
    await second.revert("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), READER)}


async def test_a_wider_role_that_somebody_else_gave_is_not_ours_to_revoke(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    [(key, ours)] = app.world.assignments.items()
    del app.world.assignments[key]
    theirs = dataclasses.replace(ours, name="00000000-aaaa-4aaa-8aaa-000000000000")
    app.world.assignments[naming.fold_id(STORAGE), theirs.name] = theirs
    wish(bench, intent="read")
    await bench.apply("role_assignments")
    assert (naming.fold_id(STORAGE), CONTRIBUTOR) in granted(app)


async def test_the_new_role_is_there_before_the_wider_one_goes(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    wish(bench, intent="read")
    seen = len(app.journal.calls)
    await bench.apply("role_assignments")
    names = [call.name for call in app.journal.calls[seen:] if call.name.startswith("roles.")]
    assert names == ["roles.ensure", "roles.delete"]


async def test_the_name_of_a_role_that_a_create_revoked_is_kept_back_while_its_delete_may_land(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    wish(bench, intent="read")
    bench.in_doubt_seconds, bench.removals_in_doubt = 9.0, False
    with pytest.raises(NotYetError, match="settle"):
        await bench.apply("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), READER)}
    assert sum('"role|' in str(row.columns["body"]) for row in app.store.rows("users")) == 2
    bench.in_doubt_seconds = 0.0
    await bench.apply("role_assignments")
    assert sum('"role|' in str(row.columns["body"]) for row in app.store.rows("users")) == 1


async def test_what_was_given_up_has_no_user_any_more(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    wish(bench, intent="read")
    await bench.apply("role_assignments")
    [thing] = [one for one in app.store.rows("users") if '"role|' in str(one.columns["body"])]
    assert READER in str(thing.columns["body"])
    assert bench.connection.connection_id in str(thing.columns["body"])


# --- what the facts come from, and what can be proved -----------------------------------------------


async def test_a_target_whose_server_knows_the_endpoint_is_asked_of_both(app: LocalApp):
    database = f"{SERVER}/databases/db"
    app.world.add_resource(database, {"properties": {}})
    bench = Bench(app, target_type="sql", target_id=database)
    with pytest.raises(PermanentError, match="endpoint-missing"):
        await bench.apply("preflight")
    app.world.add_resource(SERVER, {"properties": {"fullyQualifiedDomainName": "srv.database.windows.net"}})
    facts: dict[str, Any] = (await bench.apply("preflight")).outputs["facts"]
    assert (facts["host"], facts["database"]) == ("srv.database.windows.net", "db")
    assert ("target", database) in bench.dependents


def provable(bench: Bench) -> Bench:
    bench.rules = dataclasses.replace(bench.rules, prove=True)
    return bench


async def test_access_that_the_roles_allow_no_read_for_is_said_to_be_not_provable(app: LocalApp):
    namespace = f"{GROUP}/providers/Microsoft.ServiceBus/namespaces/sb"
    app.world.add_resource(
        namespace, {"properties": {"serviceBusEndpoint": "https://sb.servicebus.windows.net:443/"}}
    )
    bench = provable(Bench(app, target_type="servicebus", target_id=namespace, intent="send"))
    await bench.up_to("prove")
    assert bench.done["prove"] == {"result": "not-provable"}
    finding = (await bench.check("prove"))["access-proved"]
    assert (finding.result, finding.detail) == ("unknown", "not-provable")


async def test_access_to_a_part_is_proved_by_reading_that_part(app: LocalApp):
    read = "https://orders.blob.core.windows.net/reports?restype=container&comp=list&maxresults=1"
    app.world.data_planes = {read: CONTAINER}
    bench = provable(Bench(app, target_id=CONTAINER, intent="read"))
    await bench.up_to("prove")
    assert bench.done["prove"] == {"result": "proved"}


def test_connections_from_before_there_were_intents_keep_their_hash(app: LocalApp):
    spec = Bench(app).connection.spec
    first = {
        "name",
        "cluster_id",
        "namespace",
        "workload",
        "target_type",
        "target_id",
        "client_type",
        "identity_id",
    }
    before = spec.model_dump(include=first)
    for name in ("cluster_id", "target_id"):
        before[name] = naming.fold_id(before[name])
    assert naming.spec_hash(spec) == naming.body_hash(before)
    assert naming.spec_hash(spec.model_copy(update={"intent": "read"})) != naming.spec_hash(spec)


def linked(bench: Bench, *, target: str = STORAGE, namespace: str = "other") -> None:
    """A living linker of the same identity; Azure gave it no role of its own, since ours was there."""
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
    bench.app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name="theirs",
        namespace=namespace,
        target_id=f"{target}/blobServices/default",
        client_id=str(bench.intents["managed_identity"].outputs["clientId"]).upper(),
        client_type="none",
        provisioning_state="Succeeded",
    )


@pytest.mark.parametrize(("kind", "cause"), [(Kind.PRUNE, "namespace"), (Kind.DELETE, "")])
async def test_a_role_stays_that_a_living_linker_goes_by(app: LocalApp, kind: Kind, cause: str):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    linked(bench)
    bench.become(kind, cause=cause)
    [kept] = (await bench.revert("role_assignments")).outputs["kept"]
    assert (kept["rule"], "linkers/theirs" in kept["detail"]) == ("live-linker", True)
    assert granted(app) == {(naming.fold_id(STORAGE), CONTRIBUTOR)}


async def test_a_linker_to_something_else_keeps_no_role_and_nobody_keeps_that_of_a_dead_identity(
    app: LocalApp,
):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    linked(bench, target=f"{STORAGE}2")
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    assert granted(app) == set()
    again = Bench(app, "again")
    await again.up_to("role_assignments")
    linked(again)
    again.become(Kind.PRUNE, cause="identity")
    await again.revert("role_assignments")
    assert granted(app) == set()


async def test_a_create_that_narrows_takes_no_role_that_a_linker_goes_by(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    linked(bench)
    wish(bench, intent="read")
    await bench.up_to("role_assignments")
    assert granted(app) == {(naming.fold_id(STORAGE), CONTRIBUTOR), (naming.fold_id(STORAGE), READER)}
    assert len([row for row in app.store.rows("users") if '"role|' in str(row.columns["body"])]) == 2
    app.world.linkers.clear()
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    assert granted(app) == set(), "before the identity goes, not after it"
