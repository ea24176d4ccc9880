"""What a connection shares with others, by its intents: the names of the users rows that it stands in.

The rows themselves may be lost. What is on record of the connections is then all that tells whose a thing is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.models import Connection, Intent, Provenance
from shared.steps.base import account_thing, credential_thing, identity_thing, role_thing
from shared.steps.objects import account_of
from shared.steps.provided_account import named_thing


def things_of(connection: Connection, intents: Mapping[str, Intent]) -> set[str]:
    """Names of all that the present plans of a connection's life share."""
    present = {
        name: intent.planned for name, intent in intents.items() if intent.generation == connection.generation
    }
    return {*_through_the_identity(present), *_in_the_cluster(connection, present)}


def held_things_of(connection: Connection, intents: Mapping[str, Intent]) -> set[str]:
    """Names of those that a connection holds still: what a removal has left is not among them.

    A restore may have put the account back since, and plans that as something of its own.
    """
    held = {
        step: intent
        for step, intent in intents.items()
        if not intent.left or (connection.restored and step == "service_account")
    }
    return things_of(connection, held)


def all_things_of(connection: Connection, intents: Mapping[str, Intent]) -> set[str]:
    """Names of all that any plan of a connection's life shares, of what it was given before too."""
    found = things_of(connection, intents)
    for step, intent in intents.items():
        for plan in intent.previous:
            earlier = intent.model_copy(update={"planned": plan.planned})
            found |= things_of(connection, {step: earlier})
    return found


def _through_the_identity(planned: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    identity = planned.get("managed_identity", {})
    if identity.get("provenance") in {Provenance.CREATED, Provenance.PROVIDED}:
        yield identity_thing(str(identity["resourceId"]))
    for item in planned.get("role_assignments", {}).get("assignments", ()):
        yield role_thing(item)
    credential = planned.get("federated_credential")
    if credential:
        issuer, subject = str(credential["issuer"]), str(credential["subject"])
        yield credential_thing(str(credential["identityId"]), issuer, subject)


def _in_the_cluster(connection: Connection, planned: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    account = planned.get("service_account")
    if account:
        cluster_id, namespace, name = (
            connection.spec.cluster_id,
            str(account["namespace"]),
            str(account["name"]),
        )
        if account.get("provenance") == Provenance.PROVIDED:
            yield named_thing(cluster_id, namespace, name)
        else:
            yield account_thing(cluster_id, namespace, account_of(name))
