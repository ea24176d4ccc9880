"""What the simulation excuses as left to a linker of Service Connector, and what it does not."""

import pytest

from shared.naming import fold_id, secret_name, service_account_name
from shared.orphans import Orphan, OrphanKind
from shared.ports import Row
from shared.rows import columns
from tests.fakes.azure_world import StoredObject
from tests.simulation import left, rest
from tests.simulation.given import LINKER, connection, put_linker
from tests.simulation.simulation import Simulation
from tests.simulation.world import CLUSTERS


@pytest.mark.parametrize("wrong", ["", "seen alive", "nobody's", "of another uid", "a secret"])
def test_an_account_left_to_a_linker_that_was_never_on_record_is_excused_once_a_sweep_reports_it(wrong: str):
    simulated = Simulation(2, traced=False)
    put_linker(simulated)
    seen = left.Left(simulated.world, simulated.oracles.fail)
    seen._see()
    linker = simulated.world.linkers.pop(fold_id(LINKER))
    client_id = "of-another" if wrong == "nobody's" else linker.client_id
    place = (linker.namespace, service_account_name(client_id))
    kind = "ServiceAccount"
    if wrong == "a secret":
        kind, place = "Secret", (linker.namespace, secret_name(linker.name))
    seen._left = {left.object_name(CLUSTERS[0], *place): frozenset({fold_id(LINKER)})}
    simulated.oracles.left = seen
    for left_by in ("ours", *(("",) if wrong == "seen alive" else ())):
        seen.saw(connection(simulated, linker_id=LINKER, left_by=left_by))
    there = StoredObject(uid="u", resource_version="1")
    simulated.world.clusters[fold_id(CLUSTERS[0])].objects[kind, *place] = there
    simulated.oracles.made_objects.add("u")

    def told() -> list[str]:
        return [*rest.nothing_leaked(simulated.world, simulated.oracles, simulated.records)]

    assert told() == [f"leaked {kind} {'/'.join(place)}"], "nobody knows of it"
    now = simulated.world.loop.now()
    orphan = Orphan(
        orphan_id="o",
        kind=OrphanKind.SERVICE_ACCOUNT,
        name=place[1],
        uid="other" if wrong == "of another uid" else "u",
        rule="no-owner",
        first_seen_at=now,
        last_seen_at=now,
    )
    row = Row(partition="p", key="k", columns=columns(orphan), etag="e", written_at=now, read_at=now)
    simulated.store.tables["orphans"]["p"] = {"k": row}
    assert bool(told()) is bool(wrong)
