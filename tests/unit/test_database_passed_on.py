"""A user that has passed on what it was granted is shut, and held for a person."""

import pytest

from shared.errors import NotYetError, PermanentError
from shared.models import Kind
from tests.fakes.journal import Call
from tests.fakes.local_app import LocalApp
from tests.fakes.postgres import STEP, USER, add_server, made


async def test_what_depends_on_a_users_grants_shuts_it_and_holds_the_removal(app: LocalApp):
    server = add_server(app)
    bench = await made(app, intent="read")
    bench.become(Kind.DELETE)

    def bound(call: Call) -> BaseException | None:
        # PostgreSQL's 2BP01, "dependent privileges exist".
        return PermanentError("database-user-bound", "2BP01") if call.name == "databases.revoke" else None

    app.journal.before = bound
    with pytest.raises(NotYetError) as held:
        await bench.revert(STEP)
    assert (held.value.reason, server.roles[USER].may_sign_in) == ("owns-data", False)
    assert f'REVOKE by hand what "{USER}" passed on' in held.value.detail
    app.journal.before = None
    await bench.revert(STEP)
    assert server.roles == {}
