"""Events reach the queue, by identity, and are those that the parser acts on; nothing is lost unseen."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared import events, targets
from tests.infra.deployment import Deployment
from tests.infra.rules_resources import differences

MOST_VALUES = 25
"""Event Grid's limit of values in all advanced filters of a subscription."""
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/blob"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
DELETED = "Microsoft.Resources.ResourceDeleteSuccess"
WRITTEN = "Microsoft.Resources.ResourceWriteSuccess"


def the_topic_is_the_subscriptions(deployment: Deployment) -> Iterator[str]:
    topic = deployment.module("event-topic").resource("Microsoft.EventGrid/systemTopics")
    expected = {
        "location": "global",
        "identity": {"type": "SystemAssigned"},
        "properties": {"source": "subscription().id", "topicType": "Microsoft.Resources.Subscriptions"},
    }
    yield from differences(topic.body, expected, "topic")
    file = deployment.module("watched-subscription")
    made = {one.name: one.condition for one in (*file.modules, *file.resources) if one.name != "reader"}
    if made != {
        "topic": "(empty(existingTopicId))",
        "topicGroup": "(empty(existingTopicId))",
        "existingTopic": "(!empty(existingTopicId))",
    }:
        yield f"a second topic would be made, or none: {made}"


def events_go_to_the_queue_and_never_just_away(deployment: Deployment) -> Iterator[str]:
    file = deployment.module("event-subscriptions")
    made = file.resource("Microsoft.EventGrid/systemTopics/eventSubscriptions")
    expected = {
        "eventDeliverySchema": "EventGridSchema",
        "filter": "one.filter",
        "deliveryWithResourceIdentity": {
            "identity": {"type": "SystemAssigned"},
            "destination": {
                "endpointType": "StorageQueue",
                "properties": {
                    "resourceId": "storageAccountId",
                    "queueName": "names.eventQueue",
                    "queueMessageTimeToLiveInSeconds": 604800,
                },
            },
        },
        "deadLetterWithResourceIdentity": {
            "identity": {"type": "SystemAssigned"},
            "deadLetterDestination": {
                "endpointType": "StorageBlob",
                "properties": {
                    "resourceId": "storageAccountId",
                    "blobContainerName": "names.deadLetterContainer",
                },
            },
        },
        "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
    }
    yield from differences(made.properties, expected, "subscription")
    if made.loop != "one shipped" or "batchSize(1)" not in made.decorators:
        yield f"made for {made.loop} with {made.decorators}"
    if file.variables["shipped"].value != "loadJsonContent('../event-filter.json').eventSubscriptions":
        yield "filters are not event-filter.json"
    (use,) = deployment.uses("event-subscriptions")
    if "deliveryGrants" not in use.body.get("dependsOn", []):
        yield "subscriptions are made before the topic may deliver"


def filters_keep_event_grids_limits(deployment: Deployment) -> Iterator[str]:
    for one in deployment.json("event-filter.json")["eventSubscriptions"]:
        advanced = one["filter"].get("advancedFilters", [])
        values = sum(len(each.get("values", [])) for each in advanced)
        if len(advanced) > MOST_VALUES or values > MOST_VALUES:
            yield f"{one['name']}: {values} values in {len(advanced)} filters"
        for each in advanced:
            if each["key"] != "subject" or each["operatorType"] != "StringContains":
                yield f"{one['name']}: {each}"


def what_is_acted_on_passes_a_filter(deployment: Deployment) -> Iterator[str]:
    """Each event that the parser acts on is delivered once, and no type of event that it ignores."""
    shipped = {
        one["name"]: one["filter"] for one in deployment.json("event-filter.json")["eventSubscriptions"]
    }
    for event_type, subject in acted_on():
        passed = [name for name, one in shipped.items() if passes(one, event_type, subject)]
        if len(passed) != 1:
            yield f"{event_type} of {subject} passes {passed}"
    known = {event_type for event_type, _ in acted_on()}
    for name, one in shipped.items():
        yield from (
            f"{name}: {extra}"
            for extra in set(one["includedEventTypes"]) ^ (known & set(one["includedEventTypes"]))
        )
    # A write of anything but a linker is ignored, and there are many.
    if any(passes(one, WRITTEN, IDENTITY) for one in shipped.values()):
        yield "writes of everything are delivered"


@functools.cache
def acted_on() -> tuple[tuple[str, str], ...]:
    """Event types and subjects that the parser acts on: one of each kind that it knows."""
    found = []
    ids = [LINKER, CLUSTER, IDENTITY, f"{IDENTITY}/federatedIdentityCredentials/fc", GROUP]
    watched = events.watched_types(targets.catalogue())
    ids += [f"{GROUP}/providers/{type_name}/one" for type_name in watched]
    for subject in ids:
        for event_type in (DELETED, WRITTEN):
            body = {
                "id": "1",
                "topic": f"/subscriptions/{SUBSCRIPTION}",
                "subject": subject,
                "eventType": event_type,
                "eventTime": "2026-11-26T10:00:00Z",
                "data": {},
                "dataVersion": "2",
                "metadataVersion": "1",
            }
            (decision,) = events.parse(json.dumps(body), subscriptions=None, watched=watched)
            if decision.decision in {events.Decision.CANDIDATE, events.Decision.OBSERVE}:
                found.append((event_type, subject))
    return tuple(found)


def passes(one: Mapping[str, Any], event_type: str, subject: str) -> bool:
    """Event Grid's reading of a filter: any value of each advanced filter, casing aside."""
    return event_type in one["includedEventTypes"] and all(
        any(value.lower() in subject.lower() for value in each["values"])
        for each in one.get("advancedFilters", [])
    )


def lost_events_are_told(deployment: Deployment) -> Iterator[str]:
    alert = deployment.module("event-subscriptions").resource("Microsoft.Insights/metricAlerts")
    criteria = alert.properties["criteria"]["allOf"]
    if [one["metricName"] for one in criteria] != ["DeadLetteredCount"]:
        yield f"criteria {criteria}"


RULES = (
    the_topic_is_the_subscriptions,
    events_go_to_the_queue_and_never_just_away,
    filters_keep_event_grids_limits,
    what_is_acted_on_passes_a_filter,
    lost_events_are_told,
)
