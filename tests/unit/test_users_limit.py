"""How many connections may use one thing: as many as its row holds, and refused before anything is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared import naming, users
from shared.errors import PermanentError
from shared.models import ConnectionId
from shared.naming import ID_LENGTH
from shared.steps.base import credential_thing, identity_thing
from shared.users import USERS_LIMIT, User, Users
from tests.fakes.clock import VirtualClock
from tests.fakes.local_app import LocalApp, create_body, make_app
from tests.fakes.looks import looked
from tests.fakes.state_store import InMemoryStateStore
from tests.unit.test_fitness_identities import OWN
from tests.unit.test_users import always

COLUMN_BYTES = 64 * 1024
LONGEST = credential_thing(
    "/" + "x" * (ID_LENGTH - 1), "https://" + "i" * 192, naming.subject("n" * 63, "a" * 253)
)


def user(number: int) -> User:
    return User(connection_id=ConnectionId(naming.digest([str(number)])), generation=999_999)


async def test_the_longest_row_of_users_fits_its_column_and_one_more_is_refused():
    store = InMemoryStateStore(VirtualClock())
    row = Users(store, lease_seconds=150)
    details = {"workload": "w" * 24, "nonce": "n" * 36, "name": "x" * 253, "provenance": "provided"}
    for number in range(USERS_LIMIT):
        await row.join(LONGEST, user(number), settled=always, details=details)
    with pytest.raises(PermanentError) as caught:
        await row.join(LONGEST, user(USERS_LIMIT), settled=always)
    assert caught.value.code == "too-many-users"
    assert str(USERS_LIMIT) in caught.value.detail
    assert "identityId" in caught.value.remedy
    [stored] = store.rows("users")
    longest = str(stored.columns["body"]).replace('"closing":""', f'"closing":"{"c" * 37}"')
    assert 0.8 * COLUMN_BYTES < len(longest.encode("utf-16-le")) <= COLUMN_BYTES


async def test_who_is_among_them_joins_again_and_who_leaves_makes_room():
    row = Users(InMemoryStateStore(VirtualClock()), lease_seconds=150)
    for number in range(USERS_LIMIT):
        await row.join("role|x", user(number), settled=always)
    await row.join("role|x", user(7), settled=always, details={"name": "y"})
    gone = naming.operation_id(user(0).connection_id, "gone")
    assert (await row.leave("role|x", user(0), operation_id=gone)).shared
    joined = await row.join("role|x", user(USERS_LIMIT), settled=always)
    assert len(joined.users) == USERS_LIMIT


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalApp:
    monkeypatch.setattr(users, "USERS_LIMIT", 2)
    return make_app(tmp_path)


async def filled(app: LocalApp) -> None:
    for number in range(2):
        name = f"of-{number}"
        await app.send(create_body(name), message_id=name)
        await app.settle()
    [row] = [one for one in app.store.rows("users") if "identity|" in str(one.columns["body"])]
    assert len(json.loads(str(row.columns["body"]))["users"]) == 2


async def test_a_create_beyond_it_ends_before_anything_is_made(full: LocalApp):
    await filled(full)
    before = [full.leftovers(), json.dumps([str(one) for one in full.world.credentials.values()])]
    record = await full.send(create_body("one-more"), message_id="m")
    await full.settle()
    [operation] = await full.operations(record.connection_id)
    assert (operation.state, operation.code) == ("failed", "too-many-users")
    assert "another workload" in operation.remedy
    assert [full.leftovers(), json.dumps([str(one) for one in full.world.credentials.values()])] == before
    await full.send({"action": "delete", "connectionId": record.connection_id}, message_id="d")
    await full.settle()
    assert await full.state(record.connection_id) == "deleted"
    after = full.leftovers()
    users = [[json.loads(one)["users"] for one in there["users"]] for there in (after, before[0])]
    assert users[0] == users[1]
    assert after | {"users": ()} == before[0] | {"users": ()}


async def test_a_plan_says_so_of_one_more_and_not_of_who_is_among_them(full: LocalApp):
    for number in range(2):
        await looked(full, name=f"of-{number}")
    await filled(full)
    _, findings = await looked(full)
    assert findings["identity-usable"].detail.startswith("too-many-users")
    assert findings["identity-usable"].result == "failed"
    _, findings = await looked(full, name="of-1")
    assert findings["identity-usable"].result == "ok"
    assert await Users(full.store, lease_seconds=150).get(identity_thing(OWN)) is not None
