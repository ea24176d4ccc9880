"""The parser of deletion events: hints are read tolerantly, trusted narrowly, and never raise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import naming
from shared.events import Decision, EventDecision, parse
from shared.naming import type_of

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
ROOT = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{ROOT}/resourceGroups/rg"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acc"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/blob"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
CREDENTIAL = f"{IDENTITY}/federatedIdentityCredentials/fc"
WATCHED = frozenset({"microsoft.storage/storageaccounts", "microsoft.keyvault/vaults"})
DELETED = "Microsoft.Resources.ResourceDeleteSuccess"
SECRET = "someone@example.org"


def event(subject: Any = ACCOUNT, event_type: Any = DELETED, **changes: Any) -> dict[str, Any]:
    """An event of the subscription topic as published, with the parts that must never be carried on."""
    made = {
        "topic": ROOT,
        "subject": subject,
        "eventType": event_type,
        "eventTime": "2026-11-22T10:00:00.1234567Z",
        "id": "e-1",
        "data": {
            "authorization": {"scope": f"{GROUP}/providers/X.Y/z/other", "action": "Microsoft.X/y/delete"},
            "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": SECRET},
            "httpRequest": {"clientIpAddress": "192.0.2.1", "method": "DELETE", "url": "https://x"},
            "correlationId": "c",
            "resourceProvider": "Microsoft.Storage",
            "resourceUri": subject,
            "operationName": "Microsoft.Storage/storageAccounts/delete",
            "status": "Succeeded",
            "subscriptionId": SUBSCRIPTION,
            "tenantId": "t",
        },
        "dataVersion": "2",
        "metadataVersion": "1",
    }
    made |= changes
    return {name: value for name, value in made.items() if value is not ...}


def cloud(subject: Any = ACCOUNT, event_type: Any = DELETED, **changes: Any) -> dict[str, Any]:
    plain = event(subject, event_type)
    made = {
        "specversion": "1.0",
        "source": plain["topic"],
        "type": plain["eventType"],
        "time": plain["eventTime"],
        "id": plain["id"],
        "subject": subject,
        "data": plain["data"],
    } | changes
    return {name: value for name, value in made.items() if value is not ...}


def notification(subject: str = ACCOUNT, kind: str = "Deleted", **info: Any) -> dict[str, Any]:
    data = {
        "resourceInfo": {"id": subject, "name": "x", "type": type_of(subject)} | info,
        "operationalInfo": {"resourceEventTime": "2026-11-22T10:00:00"},
    }
    return event(subject, f"Microsoft.ResourceNotifications.Resources.{kind}", data=data)


def decide(
    body: Any, subscriptions: frozenset[str] | None = frozenset({SUBSCRIPTION})
) -> list[EventDecision]:
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    return parse(text, subscriptions=subscriptions, watched=WATCHED)


def only(body: Any, **options: Any) -> EventDecision:
    (decision,) = decide(body, **options)
    return decision


def outcome(body: Any, **options: Any) -> tuple[str, str]:
    decision = only(body, **options)
    return decision.decision.value, decision.reason


# --- what is of use -----------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [ACCOUNT, CLUSTER, LINKER, IDENTITY, CREDENTIAL, GROUP])
@pytest.mark.parametrize("make", [event, cloud, notification])
def test_a_deletion_of_what_a_connection_may_depend_on_is_a_candidate_in_every_schema(
    make: Any, subject: str
):
    decision = only(make(subject))
    assert decision == EventDecision(
        index=0,
        decision=Decision.CANDIDATE,
        reason="deleted",
        resource_id=subject.lower(),
        resource_type=naming.type_of(subject),
        event_type=decision.event_type,
        event_time="2026-11-22T10:00:00.1234567Z",
        event_id="e-1",
        subject=subject,
        source=ROOT,
    )
    assert "deleted" in decision.event_type.lower() or "DeleteSuccess" in decision.event_type


@pytest.mark.parametrize("body", [event(LINKER, "Microsoft.Resources.ResourceWriteSuccess"),
                                  cloud(LINKER, "Microsoft.Resources.ResourceWriteSuccess"),
                                  notification(LINKER, "CreatedOrUpdated")])  # fmt: skip
def test_a_written_linker_of_a_cluster_is_observed(body: dict[str, Any]):
    assert outcome(body) == ("observe", "linker-written")


@pytest.mark.parametrize("subject", [ACCOUNT, CLUSTER, IDENTITY, GROUP])
def test_any_other_write_is_ignored(subject: str):
    assert outcome(event(subject, "Microsoft.Resources.ResourceWriteSuccess")) == ("ignored", "write")


@pytest.mark.parametrize("event_type", [DELETED, "Microsoft.Resources.ResourceWriteSuccess"])
def test_a_linker_of_anything_but_a_cluster_is_ignored(event_type: str):
    for parent in (f"{GROUP}/providers/Microsoft.Web/sites/s", ROOT):
        body = event(f"{parent}/providers/Microsoft.ServiceLinker/linkers/l", event_type)
        assert outcome(body) == ("ignored", "linker-of-another-source")


@pytest.mark.parametrize(
    "below",
    [
        "/agentPools/p",
        "/maintenanceConfigurations/m",
        "/providers/Microsoft.ContainerService/scheduledEvents/s",
        "/providers/Microsoft.KubernetesConfiguration/extensions/sc-extension",
        "/providers/Microsoft.Authorization/roleAssignments/r",
    ],
)
def test_what_lies_below_a_cluster_does_not_stand_for_the_cluster(below: str):
    decision = only(event(CLUSTER + below))
    assert (decision.decision, decision.reason) == (Decision.IGNORED, "resource-type")


def test_a_deployment_id_that_starts_like_a_group_is_not_the_group():
    assert outcome(event(f"{GROUP}/deployments/y")) == ("ignored", "resource-type")
    assert outcome(event(f"{GROUP}/providers/Microsoft.Resources/deployments/y")) == (
        "ignored",
        "resource-type",
    )


def test_groups_whose_names_begin_alike_are_different_ids():
    one, other = decide([event(f"{ROOT}/resourceGroups/rg-a"), event(f"{ROOT}/resourceGroups/rg-ab")])
    assert one.resource_id != other.resource_id
    assert one.resource_id not in naming.ancestors(other.resource_id)


def test_a_target_type_is_a_candidate_only_if_it_is_watched():
    (decision,) = parse(json.dumps(event()), subscriptions=None)
    assert decision.reason == "resource-type"


# --- the event type decides ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(f"Microsoft.Resources.Resource{verb}{end}" for verb in ("Write", "Delete", "Action")
          for end in ("Failure", "Cancel")),
        "Microsoft.Resources.ResourceActionSuccess",
        "Microsoft.EventGrid.SubscriptionValidationEvent",
        "Microsoft.Storage.BlobDeleted",
        "Microsoft.ResourceNotifications.AKSResources.FleetGateDeleted",
        "Microsoft.KeyVault.VaultAccessPolicyChanged",
        "",
    ],
)  # fmt: skip
def test_failures_cancellations_and_other_topics_are_ignored_whatever_their_status_says(name: str):
    assert outcome(event(event_type=name)) == ("ignored", "event-type")
    assert outcome(cloud(event_type=name)) == ("ignored", "event-type")


def test_an_event_type_is_compared_without_case():
    assert only(event(event_type=DELETED.upper())).decision is Decision.CANDIDATE


def test_operation_name_status_and_authorization_decide_nothing():
    body = event()
    body["data"] |= {"operationName": "Microsoft.X/y/write", "status": "Failed", "authorization": "{opaque"}
    assert only(body).resource_id == ACCOUNT.lower()
    del body["data"]["resourceUri"]
    assert only(body).decision is Decision.CANDIDATE
    assert only(event(data=...)).decision is Decision.CANDIDATE
