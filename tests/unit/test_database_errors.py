"""What a server's refusal means, and what the app's own token says: without a server."""

from __future__ import annotations

import re
import ssl

import asyncpg
import pytest

from shared.clients import databases
from shared.clients.database_grants import _require_power
from shared.clients.database_statements import on_relations
from shared.clients.sqlstates import OTHER, STATES, rule_of
from shared.errors import PermanentError, TransientError
from shared.ports import DatabaseServer, Privileges
from tests.contract.ports_databases import SCOPE, FixedToken

SERVER = DatabaseServer(host="db.example", admin="app", token_scope=SCOPE)


@pytest.mark.parametrize(
    ("state", "code", "kind"),
    [
        ("08006", "database-unreachable", TransientError),
        ("25006", "database-read-only", PermanentError),
        ("28000", "database-login-refused", PermanentError),
        ("28P01", "database-login-refused", PermanentError),
        ("2BP01", "database-user-bound", PermanentError),
        ("3D000", "database-missing", PermanentError),
        ("40P01", "database-busy", TransientError),
        ("42501", "database-access-denied", PermanentError),
        ("42710", "database-changed", TransientError),
        ("42P01", "database-changed", TransientError),
        ("42883", "database-entra-off", PermanentError),
        ("42601", "database-refused", PermanentError),
        ("53300", "database-busy", TransientError),
        ("55P03", "database-busy", TransientError),
        ("57014", "database-busy", TransientError),
        ("57P03", "database-unreachable", TransientError),
        ("XX000", "database-error", TransientError),
        ("99999", "database-refused", PermanentError),
    ],
)
def test_a_sqlstate_decides(state: str, code: str, kind: type[Exception]):
    error = asyncpg.PostgresError("the server says so")
    error.sqlstate = state
    with pytest.raises(kind, match=code) as told, databases._told():
        raise error
    assert state in str(told.value)


def test_a_whole_state_counts_before_its_class_and_the_rest_cannot_be_helped():
    assert rule_of("57014").code != rule_of("57P01").code
    assert rule_of("00000") is OTHER
    assert all(re.fullmatch(r"[0-9A-Z]{2}|[0-9A-Z]{3}|[0-9A-Z]{5}", state) for state in STATES)
    assert all(rule.code.startswith("database-") for rule in STATES.values())


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (ConnectionRefusedError(), "database-unreachable", TransientError),
        (TimeoutError(), "database-unreachable", TransientError),
        (asyncpg.InterfaceError("closed"), "database-unreachable", TransientError),
        (ssl.SSLCertVerificationError(1, "bad"), "database-certificate-refused", PermanentError),
    ],
)
def test_what_is_no_answer_of_a_server(error: Exception, code: str, kind: type[Exception]):
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "self-signed certificate"
    with pytest.raises(kind, match=code), databases._told():
        raise error


@pytest.mark.parametrize("text", ["", "x", "e30.e30.x", "a.!.c", "a.W10.c"])
async def test_a_token_that_says_nothing_of_its_holder_is_refused_without_being_told(text: str):
    credential = FixedToken()
    credential.text = text
    with pytest.raises(PermanentError, match="token-unreadable") as refused:
        await databases.PostgresDatabases(credential).own_object_id(SCOPE)  # type: ignore[arg-type]
    assert not text or text not in refused.value.detail


def test_names_never_stand_in_a_statement():
    evil = 'x"; DROP TABLE orders; --'
    statements = list(on_relations("GRANT", "SELECT", "TABLE", [("public", evil)] * 450, evil))
    assert [len(names) for _, names in statements] == [401, 401, 101]
    assert all("orders" not in text for text, _ in statements)
    assert all(text.count("%I") == len(names) for text, names in statements)
    assert list(on_relations("REVOKE", "ALL", "TABLE", [], evil)) == []


def test_a_command_for_a_person_holds_a_role_to_its_name_whoever_chose_it():
    """Whoever may make roles may own a table: who pastes the remedy must not act for them."""
    theirs = {"owner": 'x" TO y; DROP ROLE "z', "ours": False, "sequence": False}
    with pytest.raises(PermanentError, match="database-grant-refused") as refused:
        _require_power(SERVER, "shop", Privileges(schema="public", on_tables=("SELECT",)), [theirs])
    assert refused.value.remedy == 'in database shop: GRANT "x"" TO y; DROP ROLE ""z" TO "app";'
