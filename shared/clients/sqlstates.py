"""What an error of a PostgreSQL server means for us: one table by SQLSTATE, no code.

A whole state counts before its class (the first two characters). Source: postgresql.org, appendix "Error
Codes"; what Azure answers with which state was not tried on a live server.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.clients.error_rules import Rule, permanent, transient
from shared.errors import Pace

_SIGN_IN = (
    "Let the app's network reach the server (az postgres flexible-server firewall-rule create, or a private"
    " endpoint) and make the app an Entra administrator of it, then repeat."
)
_RIGHTS = "Let the app's role act for the owner: GRANT <owner> TO <the app's role>; then repeat."


STATES: Mapping[str, Rule] = {
    "08": transient("database-unreachable"),
    "25006": permanent("database-read-only", "Name the primary server and not a replica of it."),
    "28": permanent("database-login-refused", _SIGN_IN),
    "2BP01": permanent("database-user-bound"),
    "3D000": permanent("database-missing", "Name a database that the server has."),
    "3F000": permanent("database-grant-refused", "Make the schema public again, then repeat."),
    "40": transient("database-busy", Pace.FAST),
    "42501": permanent("database-access-denied", _RIGHTS),
    # Something was made or dropped between a look and what followed from it.
    "42704": transient("database-changed", Pace.FAST),
    "42710": transient("database-changed", Pace.FAST),
    "42P01": transient("database-changed", Pace.FAST),
    # The functions for Entra principals are there only while Entra authentication is on.
    "42883": permanent("database-entra-off", "Turn Entra authentication of the server on, then repeat."),
    "53": transient("database-busy"),
    "55": transient("database-busy"),
    "57014": transient("database-busy"),
    "57P": transient("database-unreachable"),
    "58": transient("database-error"),
    "XX": transient("database-error"),
}
"""Ours by SQLSTATE, by its first three characters, or by its class."""

OTHER = permanent("database-refused")
"""Any other state: trying again cannot help, for the same statement is refused again."""


def rule_of(state: str) -> Rule:
    """What a SQLSTATE means."""
    return next((STATES[part] for part in (state, state[:3], state[:2]) if part in STATES), OTHER)
