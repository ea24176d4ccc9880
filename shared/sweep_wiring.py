"""Builds what sweeps are made of, from the settings and what the rest of the product uses too."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from shared.announcer import OVERDUE_SECONDS
from shared.drift import Drifts
from shared.engine import Engine
from shared.inventory import Inventory
from shared.observing import Observer
from shared.opening import Opener
from shared.orphan_prunes import OrphanPruner
from shared.orphans import Orphans
from shared.policy import Policy
from shared.ports import StepQueue, Telemetry
from shared.recovering import recoveries
from shared.recovering.rebuilding import Rebuilder
from shared.recovering.recoveries import FoundRows
from shared.recovering.recovery_slice import RecoverySlice
from shared.settings import DriftMode, Settings
from shared.spec import ConnectionSpec
from shared.sweeping.cluster_slice import ClusterSlice
from shared.sweeping.hints import Hints
from shared.sweeping.housekeeping import Housekeeping
from shared.sweeping.lookout import Lookout
from shared.sweeping.slices import Slices
from shared.sweeping.subscription_slice import SubscriptionSlice
from shared.sweeping.sweeper import Sweeper
from shared.sweeping.sweeps import Sweeps


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """What handlers call for sweeps."""

    sweeps: Sweeps
    slices: Slices
    sweeper: Sweeper
    drifts: Drifts
    found: FoundRows


def build(
    settings: Settings,
    *,
    engine: Engine,
    queue: StepQueue,
    opener: Opener,
    observer: Observer,
    orphan_pruner: OrphanPruner,
    load_policy: Callable[[], Policy],
    judge: Callable[[ConnectionSpec], None],
    logger: logging.Logger,
    telemetry: Telemetry,
) -> Sweeping:
    """Sweeps on the ports and rows that the engine works with."""
    state, clock = engine.state, engine.clock
    store = state.store
    inventory, sweeps, drifts = Inventory(store), Sweeps(store), Drifts(store)
    lookout = Lookout(
        store=store,
        state=state,
        inventory=inventory,
        dependents=engine.dependents,
        users=engine.users,
        limits=engine.limits,
        orphans=Orphans(store),
        drifts=drifts,
        hints=Hints(opener=opener, state=state, orphan_pruning=orphan_pruner),
        observer=observer,
        outside=engine.outside,
        catalogue=engine.catalogue,
        load_policy=load_policy,
        tenant_id=settings.tenant_id,
        identity_resource_group_id=settings.identity_resource_group_id,
        repairs=settings.drift is DriftMode.REPAIR,
        orphan_retention_seconds=settings.orphan_retention_seconds,
        history_days=settings.history_days,
        logger=logger,
    )
    found = FoundRows(store)
    recovery = RecoverySlice(
        lookout=lookout,
        rebuilder=Rebuilder(
            state=state,
            users=engine.users,
            dependents=engine.dependents,
            limits=engine.limits,
            identity_resource_group_id=settings.identity_resource_group_id,
        ),
        rows=found,
        judge=judge,
        app_client_id=settings.client_id,
    )
    cut = recoveries.RecoveryScope(
        inventory=inventory,
        resources=engine.outside.resources,
        load_policy=load_policy,
        subscription_ids=frozenset(settings.subscription_ids),
    ).cut
    slices = Slices(
        sweeps=sweeps,
        queue=queue,
        limits=engine.limits,
        clock=clock,
        workers={
            "cluster": ClusterSlice(lookout=lookout),
            "subscription": SubscriptionSlice(lookout=lookout),
            "housekeeping": Housekeeping(lookout=lookout, sweeps=sweeps),
            recoveries.KIND: recovery,
        },
        slice_seconds=settings.sweep_slice_seconds,
        deadline_seconds=settings.sweep_slice_seconds + settings.step_deadline_seconds,
        lease_seconds=settings.sweep_slice_seconds + settings.step_lease_seconds,
        retry_scale=settings.retry_scale,
        logger=logger,
        telemetry=telemetry,
    )
    sweeper = Sweeper(
        sweeps=sweeps,
        slices=slices,
        inventory=inventory,
        load_policy=load_policy,
        subscription_ids=frozenset(settings.subscription_ids),
        limit_seconds=settings.sweep_limit_seconds,
        overdue_seconds=OVERDUE_SECONDS * settings.retry_scale,
        clock=clock,
        logger=logger,
        cuts=dict.fromkeys(recoveries.ASKED, cut),
    )
    return Sweeping(sweeps=sweeps, slices=slices, sweeper=sweeper, drifts=drifts, found=found)
