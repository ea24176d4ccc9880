"""What may be asked of a connection in the state it is in, and with which remedy all else is refused."""

from __future__ import annotations

from shared import changes, naming
from shared.errors import RefusedError
from shared.models import Connection, ConnectionState, Kind
from shared.spec import ConnectionSpec

REPAIRABLE = frozenset({ConnectionState.CONFIGURED, ConnectionState.USABLE, ConnectionState.FAILED})


def refuse_another(present: ConnectionSpec, wanted: ConnectionSpec) -> None:
    """Refuse a create that is not the one which holds the connection's id.

    Raises:
        RefusedError: ``name-collision`` or ``body-differs``.
    """
    if present.name != wanted.name:
        raise RefusedError(
            "name-collision",
            f"connection {present.name} has the same secret, {naming.secret_name(wanted.name)}",
            field="connection.name",
            remedy="choose a name that differs in letters or digits",
        )
    different = changes.differing(present, wanted)
    if different:
        raise RefusedError(
            "body-differs",
            f"connection {wanted.name} exists with another {', '.join(map(changes.field, different))}",
            field="connection",
            remedy="send it unchanged, or with action update, or delete the connection first",
        )


def refuse_missing(kind: Kind) -> None:
    """Refuse what makes no sense without a connection; a delete or prune has nothing to do then.

    Raises:
        RefusedError: ``not-found``.
    """
    if kind is Kind.VALIDATE:
        raise RefusedError("not-found", "there is no such connection", field="connectionId")
    if kind is Kind.REPAIR:
        raise RefusedError(
            "not-found",
            "there is no such connection, or nothing of it is left to repair",
            field="connectionId",
            remedy="send the create request again",
        )


def refuse_theirs(kind: Kind, connection: Connection) -> None:
    """Refuse what Service Connector alone can do with its connections.

    Raises:
        RefusedError: ``linker-holds-name``, ``observed-connection`` or ``adopted-connection``.
    """
    if kind is Kind.CREATE:
        raise RefusedError(
            "linker-holds-name",
            f"Service Connector's {connection.spec.name} writes the same secret",
            field="connection.name",
            remedy="choose another name, or delete the linker first",
        )
    adopted = connection.adopted_at is not None
    if adopted and kind in {Kind.DELETE, Kind.REPAIR}:
        raise RefusedError(
            "adopted-connection",
            "Service Connector made this connection, and it alone changes or deletes it;"
            " what it leaves behind is pruned then",
            remedy=_command("delete" if kind is Kind.DELETE else "update", connection),
        )
    if not adopted and kind in {Kind.DELETE, Kind.VALIDATE, Kind.REPAIR}:
        raise RefusedError(
            "observed-connection",
            "this is a Service Connector connection, which Mooring only watches",
            remedy=_command("update" if kind is Kind.REPAIR else kind.value, connection),
        )


def refuse_orphans(connection: Connection) -> None:
    """Refuse what is asked of the row on which an orphan is pruned: it is no connection.

    A delete of it would remove the thing without the guards of a prune.

    Raises:
        RefusedError: ``observed-connection``.
    """
    spec = connection.spec
    if connection.left_by:
        raise RefusedError(
            "observed-connection",
            f"this is what connection {connection.left_by} had to leave to a linker; it is pruned with that",
            remedy=_command("delete", connection),
        )
    if connection.connection_id != naming.connection_id(spec.cluster_id, spec.namespace, spec.name):
        raise RefusedError(
            "observed-connection",
            "this is the record of an orphan and its prunes, not a connection",
            remedy="POST /api/orphans/{id}/prune",
        )


def refuse_unrepairable(connection: Connection) -> None:
    """Refuse to repair what is not, or not any more, made by us as a whole.

    Raises:
        RefusedError: ``not-repairable``.
    """
    if connection.state.live and connection.state not in REPAIRABLE and not connection.active:
        raise RefusedError(
            "not-repairable",
            f"connection {connection.spec.name} is {connection.state.value}:"
            " parts of it were taken away on purpose",
            remedy="send the create request again: it makes anew what is missing",
        )


def _command(verb: str, connection: Connection) -> str:
    return f"az aks connection {verb} --id {connection.linker_id}"
