"""What the policy lists of a database, and how long the name of its user may be."""

from typing import Any

import pytest

from shared.errors import RefusedError
from shared.target_parts import DatabaseAccess
from tests.fakes.databases import StoredServer
from tests.fakes.local_app import LocalApp, create_body
from tests.fakes.postgres import DATABASE, NAME, add_server, granted

TARGET = {"type": "postgres-flexible", "id": DATABASE}


def body(intent: str, action: str = "create") -> dict[str, Any]:
    wanted = {"intent": intent} if intent else {}
    return create_body(NAME, target=TARGET, **wanted) | {"action": action}


@pytest.fixture
def server(app: LocalApp) -> StoredServer:
    return add_server(app)


def listing(app: LocalApp, *roles: str) -> None:
    listed = ", ".join(f'"{role}"' for role in roles)
    app.policy_file.write_text(f"{app.policy_file.read_text()}roles = [{listed}]\n")


@pytest.mark.parametrize(
    ("intent", "right"),
    [("read", "Database user (read)"), ("write", "Database user (write)"), ("", "Database user (full)")],
)
async def test_a_rule_that_lists_roles_allows_of_a_database_what_it_lists_and_nothing_else(
    app: LocalApp, server: StoredServer, intent: str, right: str
):
    listing(app, "Storage Blob Data Reader")
    record = await app.send(body(intent), message_id="none")
    assert record.code == "policy-denied"
    assert f"the role {right}" in record.detail
    assert f'roles = ["{right}"]' in record.remedy
    app.policy_file.write_text(app.policy_file.read_text().replace("Storage Blob Data Reader", right))
    record = await app.send(body(intent), message_id="listed")
    assert record.outcome == "opened"


async def test_an_update_gives_no_more_in_a_database_than_the_policy_lists(
    app: LocalApp, server: StoredServer
):
    listing(app, "Database user (read)")
    await app.send(body("read"), message_id="c")
    await app.settle()
    for intent in ("write", ""):
        record = await app.send(body(intent, "update"), message_id=f"u{intent}")
        assert record.code == "policy-denied"
    await app.settle()
    assert granted(server) == {"SELECT"}


async def test_a_rule_without_roles_allows_a_database_as_before(app: LocalApp, server: StoredServer):
    record = await app.send(body(""))
    assert record.outcome == "opened"


def test_a_name_that_a_server_would_cut_off_is_refused(app: LocalApp):
    database = app.services.catalogue.find("postgres-flexible").database
    assert isinstance(database, DatabaseAccess)
    database.check_name("a" * 59)
    with pytest.raises(RefusedError, match="at most 59 characters") as refused:
        database.check_name("a" * 60)
    assert (refused.value.code, refused.value.field) == ("invalid-name", "connection.name")


async def test_a_request_with_such_a_name_is_refused_before_anything_is_made(
    app: LocalApp, server: StoredServer
):
    record = await app.send(create_body("a" * 60, target=TARGET))
    assert (record.outcome, record.code) == ("rejected", "invalid-name")
    blob = await app.send(create_body("a" * 60), message_id="blob")
    assert blob.outcome == "opened"
