"""A recovery in the in-memory app: lose the tables, recover, look at what was found."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from shared import naming
from shared.inscription import ANNOTATION_REQUEST
from shared.recovering import recoveries
from shared.rows import TABLES
from shared.sweeping.sweeps import Sweeps
from tests.fakes.aftermath import writes
from tests.fakes.azure_world import StoredObject
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.sweeps import pumped, slices


def lose_tables(app: LocalApp) -> None:
    """The state store is made anew, and empty; what waits in the queues stays."""
    for table in TABLES:
        app.store._tables[table].clear()


async def begun(app: LocalApp, *, write: bool = False) -> str:
    """Begin a recovery; returns its id."""
    asked_by = recoveries.RECOVERY if write else recoveries.DRY_RUN
    sweep, fresh = await app.services.sweeping.sweeper.start(asked_by=asked_by)
    assert fresh, "another sweep is under way"
    return sweep.sweep_id


async def answered(app: LocalApp, recovery_id: str) -> dict[str, Any]:
    """The recovery as HTTP shows it."""
    stored = await Sweeps(app.store).get(recovery_id)
    assert stored is not None
    found = await app.services.sweeping.found.of(recovery_id)
    return recoveries.answer(stored.value, await slices(app, recovery_id), found, base_url="")


async def finished(app: LocalApp, recovery_id: str) -> dict[str, Any]:
    """Run the slices of a recovery to their end, waits included."""
    for _ in range(400):
        if not await pumped(app):
            if (await answered(app, recovery_id))["state"] == "done":
                break
            app.clock.advance(10)
            await app.services.sweeping.sweeper.tend()
    return await answered(app, recovery_id)


async def recovered(app: LocalApp, *, write: bool = True) -> dict[str, Any]:
    """A whole recovery; nothing in Azure or a cluster is changed by it, whatever it finds."""
    since = len(app.journal.calls)
    result = await finished(app, await begun(app, write=write))
    assert writes(app, since) == Counter()
    app.clock.advance(1)  # ids of sweeps sort by their second
    return result


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    """Outcome, or reason, by the connection's name (or its object)."""
    return {one["name"] or one["object"]: one["reason"] or one["outcome"] for one in result["connections"]}


def secret_of(app: LocalApp, name: str = "ordersblob") -> StoredObject:
    """A connection's secret."""
    return app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", f"sc-{name}-secret"]


def account_of(app: LocalApp) -> tuple[tuple[str, str, str], StoredObject]:
    """The one service account, with its key."""
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    [key] = [one for one in objects if one[0] == "ServiceAccount"]
    return key, objects[key]


def identity_key(app: LocalApp) -> str:
    """Folded id of the one identity that Mooring made."""
    [key] = [one for one in app.world.identities if "mooring-" in one]
    return key


def claim(app: LocalApp, **changes: Any) -> None:
    """Whoever may write the secret writes another wish on it."""
    annotations = secret_of(app).annotations
    annotations[ANNOTATION_REQUEST] = json.dumps({**json.loads(annotations[ANNOTATION_REQUEST]), **changes})
