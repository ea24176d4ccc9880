"""What a connection's secret holds, told from the records and the catalogue: the cluster is not asked.

The answer's shape is that of Service Connector's ``listConfigurations``. What has a credential in its
template has no value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from shared import setting_values
from shared.catalogue import Catalogue
from shared.errors import RefusedError
from shared.models import Connection, Intent
from shared.targets import TargetType


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One key of a secret."""

    name: str
    value: str | None
    """``None`` if the records do not tell it."""


def settings(
    connection: Connection, intents: Mapping[str, Intent], catalogue: Catalogue, client_type: str = ""
) -> tuple[Setting, ...]:
    """Keys and values, in alphabetical order.

    Args:
        connection: whose.
        intents: what is on record of it.
        catalogue: the rows of targets.
        client_type: another one than the connection's own, to see what its settings would be.

    Raises:
        RefusedError: ``unknown-client-type``; ``unknown-target-type`` if the catalogue has no such target.
    """
    # What is left of an earlier life says nothing of this one.
    intents = {step: one for step, one in intents.items() if one.generation == connection.generation}
    wanted = client_type or connection.spec.client_type
    own = wanted == connection.spec.client_type
    recorded = _recorded_keys(intents) if own else ()
    if connection.linker_id and own and _only_recorded(connection, intents, catalogue):
        return _settings(recorded, {})
    row = catalogue.find(connection.spec.target_type)
    if connection.linker_id and "managed_identity" not in intents:
        raise RefusedError(
            "unknown-client-type",
            "Service Connector connects it without an identity: its other settings hold a credential",
            field="clientType",
            remedy=f"az aks connection list-configuration --id {connection.linker_id}",
        )
    _check(row, wanted, connection.spec.settings_kind)
    facts = _facts(intents, by_identity=connection.spec.by_identity)
    spec = connection.spec.model_copy(update={"client_type": wanted})
    values = setting_values.known(row, spec, facts) if facts else dict(spec.additional_settings)
    every = setting_values.keys(row, spec, variant=facts.get("variant", ""))
    return _settings(recorded or every, values)


def _only_recorded(connection: Connection, intents: Mapping[str, Intent], catalogue: Catalogue) -> bool:
    """Say whether Service Connector made something for which the catalogue has no settings."""
    row = next((one for one in catalogue.rows if one.name == connection.spec.target_type), None)
    offered = row is not None and connection.spec.client_type in row.client_types
    return not offered or "managed_identity" not in intents


def _check(row: TargetType, client_type: str, auth: str) -> None:
    try:
        row.check_client_type(client_type, auth=auth)
    except RefusedError as error:
        raise RefusedError(error.code, error.detail, field="clientType", remedy=error.remedy) from None


def _facts(intents: Mapping[str, Intent], *, by_identity: bool) -> dict[str, str]:
    """What the values are made of, empty unless all of it is on record."""
    preflight, identity = intents.get("preflight"), intents.get("managed_identity")
    facts = preflight.outputs.get("facts", {}) if preflight else {}
    client_id = identity.outputs.get("clientId", "") if identity else ""
    if not facts or (by_identity and not client_id):
        return {}
    return {**{str(name): str(value) for name, value in facts.items()}, "clientId": str(client_id)}


def _recorded_keys(intents: Mapping[str, Intent]) -> tuple[str, ...]:
    made = intents.get("settings")
    return tuple(map(str, made.outputs.get("keys", ()))) if made else ()


def _settings(names: Iterable[str], values: Mapping[str, str]) -> tuple[Setting, ...]:
    return tuple(Setting(name, values.get(name)) for name in sorted(names))
