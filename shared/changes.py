"""What an update may change of a connection that is made, and what it is made around and stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pydantic.alias_generators import to_camel

from shared import naming
from shared.errors import RefusedError
from shared.models import Connection, Kind, Operation
from shared.spec import ConnectionSpec
from shared.targets import TargetType

CHANGEABLE = frozenset(
    {"additional_settings", "client_type", "customized_keys", "intent", "target_id", "vault_objects"}
)
"""Properties that an update may change: of the target's id only the part behind the resource."""
_FIELDS: Mapping[str, str] = MappingProxyType({"target_id": "target.id", "target_type": "target.type"})
"""Names of properties in a request, where they are not a spec's own in camelCase."""


def differing(present: ConnectionSpec, wanted: ConnectionSpec) -> tuple[str, ...]:
    """A spec's properties that differ; ids that differ only in casing are the same."""
    whole = naming.spec_hash(present)
    return tuple(
        name
        for name in ConnectionSpec.model_fields
        if naming.spec_hash(present.model_copy(update={name: getattr(wanted, name)})) != whole
    )


def field(name: str) -> str:
    """A spec's property as a request names it, below ``connection``."""
    return _FIELDS.get(name) or to_camel(name)


def refuse_change(present: ConnectionSpec, wanted: ConnectionSpec, row: TargetType) -> None:
    """Refuse an update of what a connection is made around: another one is made instead.

    Args:
        present: as the connection is.
        wanted: as it shall be.
        row: the catalogue's row of the wanted target.

    Raises:
        RefusedError: ``cannot-change``, naming the first property at fault.
    """
    changed = differing(present, wanted)
    fixed = [name for name in changed if name not in CHANGEABLE]
    if not fixed and "target_id" in changed and not _same_resource(present, wanted, row):
        fixed = ["target_id"]
    connection_id = naming.connection_id(present.cluster_id, present.namespace, present.name)
    anew = f"DELETE /api/connections/{connection_id}, then create it"
    if fixed:
        raise RefusedError(
            "cannot-change",
            f"{field(fixed[0])} of connection {present.name} cannot be changed by an update",
            field=f"connection.{field(fixed[0])}",
            remedy=anew,
        )
    if changed and _database(present, row) != _database(wanted, row):
        raise RefusedError(
            "cannot-change",
            f"{field('target_id')} of connection {present.name} names database {_database(present, row)}: "
            "to its server another casing may be another one",
            field=f"connection.{field('target_id')}",
            remedy=f"write {_database(present, row)} in it; if that is wrong, {anew}",
        )


def refuse_unmade() -> None:
    """Refuse an update of what is not there, or goes.

    Raises:
        RefusedError: ``not-found``.
    """
    raise RefusedError(
        "not-found",
        "there is no such connection to update, or it is being deleted",
        field="connection",
        remedy="send a create request",
    )


def newest(connection: Connection, running: Sequence[Operation]) -> ConnectionSpec:
    """A connection's properties as they will be once all has ended that was asked for.

    Args:
        connection: as it is.
        running: its operations that have not ended, oldest first.
    """
    return next((other.spec for other in reversed(running) if other.spec is not None), connection.spec)


def begins_from(
    connection: Connection,
    running: Sequence[Operation],
    wanted: ConnectionSpec | None,
    row: TargetType | None,
) -> str:
    """Hash of the properties that an update goes on from, once it is known to change only what it may.

    Empty for all that is no update.

    Args:
        connection: as it is.
        running: its operations that have not ended, oldest first.
        wanted: as it shall be.
        row: the catalogue's row of the wanted target; ``None`` of what is no update.

    Raises:
        RefusedError: ``not-found`` or ``cannot-change``.
    """
    if wanted is None or row is None:
        return ""
    kinds = {other.kind for other in running}
    if kinds & {Kind.DELETE, Kind.RESTORE} or not (connection.state.live or Kind.CREATE in kinds):
        refuse_unmade()
    present = newest(connection, running)
    refuse_change(present, wanted, row)
    return naming.spec_hash(present)


def _same_resource(present: ConnectionSpec, wanted: ConnectionSpec, row: TargetType) -> bool:
    one, other = row.existence_id(present.target_id), row.existence_id(wanted.target_id)
    return naming.fold_id(one) == naming.fold_id(other)


def _database(spec: ConnectionSpec, row: TargetType) -> str:
    """The database in which the workload has a user, as it is written; empty if its target is none.

    Resource Manager takes ids in any casing; inside their servers names are told apart by it (postgresql.org,
    "SQL Syntax", quoted identifiers; dev.mysql.com, "Identifier Case Sensitivity").
    """
    names = row.names(spec.target_id) if row.database is not None else None
    return (names or {}).get("database", "")
