"""What tests of the oracles start from: a connection and a linker in a run's world, made by hand."""

from __future__ import annotations

from shared.models import Connection, ConnectionState
from shared.naming import connection_id, fold_id, spec_hash
from shared.ports import Linker
from shared.spec import ConnectionSpec
from tests.simulation.simulation import Simulation
from tests.simulation.world import ACCOUNTS, CLUSTERS, NAMESPACES, PROVIDED

NAMESPACE = NAMESPACES[0]
LINKER = f"{CLUSTERS[0]}/providers/Microsoft.ServiceLinker/linkers/theirs"


def connection(simulated: Simulation, **changes: object) -> Connection:
    """A connection of ours, configured unless ``changes`` say otherwise."""
    spec = ConnectionSpec(
        name="ours",
        cluster_id=CLUSTERS[0],
        namespace=NAMESPACE,
        workload="work",
        target_type="storage-blob",
        target_id=ACCOUNTS[0],
        client_type="none",
    )
    made = Connection(
        connection_id=connection_id(CLUSTERS[0], NAMESPACE, "ours"),
        spec=spec,
        body_hash=spec_hash(spec),
        state=ConnectionState.CONFIGURED,
        created_at=simulated.loop.now(),
    )
    return made.model_copy(update=changes)


def put_linker(simulated: Simulation, client_id: str = "") -> None:
    """A living linker of Service Connector through a client id, by default that of a team's identity."""
    provided = simulated.world.identities[fold_id(PROVIDED[0])]
    simulated.world.linkers[fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace=NAMESPACE,
        target_id=f"{ACCOUNTS[0]}/blobServices/default",
        client_id=client_id or provided.client_id,
        client_type="python",
        provisioning_state="Succeeded",
    )
