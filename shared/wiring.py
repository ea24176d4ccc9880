"""Builds the one ``Services`` of a process from its settings; nothing is opened before the first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared import logs
from shared.clients import grant_dialects
from shared.clients.arm_connection import ArmConnection
from shared.clients.clock import SystemClock
from shared.clients.clusters import AksClusters
from shared.clients.credentials import AppCredential
from shared.clients.databases import PostgresDatabases
from shared.clients.dead_letter_blobs import DeadLetterBlobs
from shared.clients.http_pool import HttpPool
from shared.clients.identities import AzureIdentities
from shared.clients.linkers import ServiceLinkers
from shared.clients.outcome_topic import EventGridOutcomeTopic
from shared.clients.prover import EntraProver
from shared.clients.resources import ArmResources
from shared.clients.roles import AzureRoles
from shared.clients.service_grants import ServiceGrants
from shared.clients.state_table import StateTable
from shared.clients.step_queue import StorageStepQueue
from shared.clients.telemetry_export import opened
from shared.ports import DeadLetters
from shared.services import Services, build
from shared.settings import Settings
from shared.steps.surroundings import Outside


class Wiring:
    """Makes the services once, in the event loop that first asks for them."""

    def __init__(self, load_settings: Callable[[], Settings] = Settings.load) -> None:
        self._load_settings = load_settings
        self._lock = asyncio.Lock()
        self._services: Services | None = None

    async def services(self) -> Services:
        """The process's services.

        Raises:
            PermanentError: ``settings-invalid``.
        """
        async with self._lock:
            if self._services is None:
                logs.quieten()
                self._services = adapters(self._load_settings())
            return self._services


def adapters(settings: Settings) -> Services:
    """Services on Azure's own clients."""
    telemetry = opened(
        connection_string=settings.insights, file=settings.trace_file, ratio=settings.trace_ratio
    )
    pool = HttpPool(ca_file=settings.ca_file, telemetry=telemetry)
    credential = AppCredential(pool, client_id=settings.client_id)
    arm = ArmConnection(pool, credential, endpoint=settings.arm_endpoint)
    outside = Outside(
        identities=AzureIdentities(arm),
        roles=AzureRoles(arm),
        cosmos=ServiceGrants(arm, grant_dialects.COSMOS),
        redis=ServiceGrants(arm, grant_dialects.REDIS),
        databases=PostgresDatabases(credential, ca_file=settings.ca_file, port=settings.postgres_port),
        resources=ArmResources(arm),
        clusters=AksClusters(arm, credential, ca_file=settings.ca_file),
        linkers=ServiceLinkers(arm),
        prover=EntraProver(pool, authority_host=settings.authority_host, tenant_id=settings.tenant_id),
    )
    return build(
        settings,
        store=StateTable(pool, credential, endpoint=settings.table_endpoint),
        queue=StorageStepQueue(
            pool, credential, endpoint=settings.queue_endpoint, api_version=settings.storage_api_version
        ),
        topic=EventGridOutcomeTopic(pool, credential, endpoint=settings.outcome_topic_endpoint),
        outside=outside,
        clock=SystemClock(),
        dead_letters=_dead_letters(settings, pool, credential),
        telemetry=telemetry,
    )


def _dead_letters(settings: Settings, pool: HttpPool, credential: AppCredential) -> DeadLetters | None:
    if not settings.dead_letter_container:
        return None
    return DeadLetterBlobs(
        pool,
        credential,
        endpoint=settings.blob_endpoint,
        container=settings.dead_letter_container,
        api_version=settings.storage_api_version,
    )
