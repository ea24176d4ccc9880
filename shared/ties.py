"""What a connection that was adopted relies on, and what it shares with others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shared import naming
from shared.catalogue import Catalogue
from shared.models import Connection, Intent, OperationId
from shared.ports import Upsert
from shared.records import Dependent, Dependents
from shared.rows import columns, key_hash
from shared.state import State
from shared.steps.shared_things import things_of
from shared.users import User, Users


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """Writes the rows that tie a connection to the rest."""

    state: State
    dependents: Dependents
    users: Users
    catalogue: Catalogue

    async def depend(self, connection: Connection, intents: Sequence[Intent]) -> None:
        """Record what the connection relies on, so that Azure's word of a loss finds it."""
        spec = connection.spec
        row = self.catalogue.match(spec.target_id)
        things = [
            ("linker", connection.linker_id),
            ("cluster", spec.cluster_id),
            *(("target", one) for one in (row.relied_on(spec.target_id) if row else (spec.target_id,))),
        ]
        outputs = {intent.step: intent for intent in intents}
        if spec.identity_id:
            things.append(("identity", spec.identity_id))
        if credential := outputs.get("federated_credential"):
            name = credential.planned["name"]
            things.append(("credential", f"{spec.identity_id}/federatedIdentityCredentials/{name}"))
        for kind, resource_id in things:
            await self.dependents.add(
                Dependent(
                    resource_id=resource_id,
                    kind=kind,
                    connection_id=connection.connection_id,
                    generation=connection.generation,
                )
            )

    async def join(self, connection: Connection, intents: Sequence[Intent]) -> None:
        """Become a user of what is shared, so that nobody's last one takes it away from a living linker."""
        user = User(connection_id=connection.connection_id, generation=connection.generation)
        for thing in sorted(things_of(connection, {intent.step: intent for intent in intents})):
            await self.users.join(thing, user, settled=self._settled)

    async def enlist(self, connection: Connection) -> None:
        """Put the linker on the inventory of its cluster, as one that was seen alive is."""
        row = columns(connection, name=connection.spec.name, namespace=connection.spec.namespace)
        change = Upsert(key=key_hash(naming.fold_id(connection.linker_id)), columns=row)
        partition = key_hash(naming.fold_id(connection.spec.cluster_id))
        await self.state.store.transact("linkers", partition, [change])

    async def _settled(self, operation_id: OperationId) -> bool:
        return await self.state.settled(operation_id, lease_seconds=self.users.lease_seconds)
