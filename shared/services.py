"""The services of a process on any ports: which part is given which."""

from __future__ import annotations

import dataclasses
import functools
import logging

from shared import plans, sweep_wiring
from shared.adopting import Adopter
from shared.announcer import OVERDUE_SECONDS, Announcer
from shared.catalogue import Catalogue, catalogue
from shared.census import Census
from shared.dead_letters import DeadLetterReplay
from shared.dry_run import DryRun
from shared.engine import Engine, Timing
from shared.event_intake import EventIntake
from shared.fitness import Fitness
from shared.holdings import HoldingsReader
from shared.intake import Intake
from shared.limits import Limits
from shared.newer_messages import NewerMessages
from shared.observing import Observer
from shared.opening import Opener
from shared.orphan_prunes import OrphanPruner
from shared.orphans import Orphans
from shared.policy_file import load_policy
from shared.ports import SILENCE, Clock, DeadLetters, OutcomeTopic, StateStore, StepQueue, Telemetry
from shared.prunes import Prunes
from shared.records import Dependents, RequestLog
from shared.releasing import Releaser
from shared.restoring import Restorer
from shared.settings import PruneMode, Settings
from shared.state import State
from shared.step_log import StepLog
from shared.steps.surroundings import Outside, Rules
from shared.sweep_wiring import Sweeping
from shared.throttling import Throttling
from shared.ties import Ties
from shared.users import Users


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What handlers call."""

    state: State
    requests: RequestLog
    queue: StepQueue
    engine: Engine
    announcer: Announcer
    intake: Intake
    events: EventIntake
    dead_letters: DeadLetterReplay
    sweeping: Sweeping
    clock: Clock
    prunes: Prunes
    orphans: Orphans
    restorer: Restorer
    releaser: Releaser
    orphan_pruner: OrphanPruner
    catalogue: Catalogue
    dry_run: DryRun
    newer: NewerMessages
    census: Census
    telemetry: Telemetry = SILENCE


def build(
    settings: Settings,
    *,
    store: StateStore,
    queue: StepQueue,
    topic: OutcomeTopic,
    outside: Outside,
    clock: Clock,
    dead_letters: DeadLetters | None = None,
    telemetry: Telemetry = SILENCE,
) -> Services:
    """Services on any ports; without a dead-letter container nothing can be replayed."""
    logger = logging.getLogger("mooring")
    state, dependents, limits = State(store), Dependents(store), Limits(store)
    users = Users(store, lease_seconds=settings.step_lease_seconds)
    announcer = Announcer(
        state=state,
        queue=queue,
        topic=topic,
        overdue_seconds=OVERDUE_SECONDS * settings.retry_scale,
        telemetry=telemetry,
    )
    requests, rows = RequestLog(store), catalogue()
    prunes, orphans = Prunes(store), Orphans(store)
    subscription_ids = frozenset(settings.subscription_ids)
    read_policy = functools.partial(load_policy, settings.policy_file)
    opener = Opener(
        state=state,
        announcer=announcer,
        clock=clock,
        report_only=settings.prune_mode is PruneMode.REPORT,
        telemetry=telemetry,
    )
    engine = Engine(
        state=state,
        dependents=dependents,
        users=users,
        limits=limits,
        throttling=Throttling(limits=limits, identity_resource_group_id=settings.identity_resource_group_id),
        announcer=announcer,
        outside=outside,
        rules=_rules(settings),
        catalogue=rows,
        steps=plans.steps(),
        timing=Timing(
            step_deadline_seconds=settings.step_deadline_seconds,
            step_lease_seconds=settings.step_lease_seconds,
            retry_scale=settings.retry_scale,
        ),
        clock=clock,
        log=StepLog(logger, telemetry),
    )
    adopter = Adopter(
        state=state,
        ties=Ties(state=state, dependents=dependents, users=users, catalogue=rows),
        linkers=outside.linkers,
        resources=outside.resources,
        reader=HoldingsReader(
            clusters=outside.clusters,
            identities=outside.identities,
            roles=outside.roles,
            subscription_ids=subscription_ids,
        ),
        catalogue=rows,
        clock=clock,
        subscription_ids=subscription_ids,
        app_client_id=settings.client_id,
        load_policy=read_policy,
    )
    intake = Intake(
        opener=opener,
        adopter=adopter,
        log=requests,
        announcer=announcer,
        queue=queue,
        catalogue=rows,
        clock=clock,
        load_policy=read_policy,
        subscription_ids=subscription_ids,
        telemetry=telemetry,
    )
    observer = Observer(
        state=state,
        dependents=dependents,
        users=users,
        queue=queue,
        clusters=outside.clusters,
        linkers=outside.linkers,
        identities=outside.identities,
        catalogue=rows,
        clock=clock,
        subscription_ids=subscription_ids,
        load_policy=read_policy,
        logger=logger,
    )
    events = EventIntake(
        state=state,
        dependents=dependents,
        opener=opener,
        observer=observer,
        queue=queue,
        catalogue=rows,
        clock=clock,
        subscription_ids=subscription_ids,
        tenant_id=settings.tenant_id,
        logger=logger,
        blobs=dead_letters,
        telemetry=telemetry,
    )
    orphan_pruner = OrphanPruner(
        state=state,
        orphans=orphans,
        users=users,
        outside=outside,
        opener=opener,
        clock=clock,
        load_policy=read_policy,
    )
    sweeping = sweep_wiring.build(
        settings,
        engine=engine,
        queue=queue,
        opener=opener,
        observer=observer,
        orphan_pruner=orphan_pruner,
        load_policy=read_policy,
        judge=intake.judge,
        logger=logger,
        telemetry=telemetry,
    )
    return Services(
        state=state,
        requests=requests,
        queue=queue,
        engine=engine,
        announcer=announcer,
        intake=intake,
        events=events,
        dead_letters=DeadLetterReplay(blobs=dead_letters, queue=queue, logger=logger),
        sweeping=sweeping,
        clock=clock,
        prunes=prunes,
        orphans=orphans,
        restorer=Restorer(state=state, prunes=prunes, opener=opener, load_policy=read_policy),
        releaser=Releaser(state=state, announcer=announcer),
        orphan_pruner=orphan_pruner,
        catalogue=rows,
        newer=NewerMessages(queue=queue, requests=requests, refuse=intake.refuse, logger=logger),
        dry_run=DryRun(
            fitness=Fitness(
                state=state,
                users=users,
                outside=outside,
                identity_resource_group_id=settings.identity_resource_group_id,
                app_client_id=settings.client_id,
            ),
            catalogue=rows,
            judge=intake.judge,
        ),
        census=Census(store=store, orphans=orphans, sweeps=sweeping.sweeps, clock=clock, telemetry=telemetry),
        telemetry=telemetry,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        tenant_id=settings.tenant_id,
        identity_resource_group_id=settings.identity_resource_group_id,
        app_client_id=settings.client_id,
        prove=settings.prove,
        lease_seconds=settings.step_lease_seconds,
        prune_confirm_seconds=settings.prune_confirm_seconds,
        prune_grace_seconds=settings.prune_grace_seconds,
        prune_cap_per_hour=settings.prune_cap_per_hour,
        hold_recheck_seconds=settings.hold_recheck_seconds,
        orphan_retention_seconds=settings.orphan_retention_seconds,
        role_assignment_limit=settings.role_assignment_limit,
        subscription_ids=frozenset(settings.subscription_ids),
        load_policy=functools.partial(load_policy, settings.policy_file),
    )
