"""Events reach the queue, by identity, and are those that the parser acts on; nothing is lost unseen."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared import events
from shared.catalogue import catalogue
from tests.infra.deployment import Deployment
from tests.infra.rules_resources import differences

MOST_VALUES = 25
"""Event Grid's limit of values in all advanced filters of a subscription."""
OPERATORS = {"StringContains": True, "StringNotContains": False}
"""Operators in use, and whether one of their values must be found."""
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/blob"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
DELETED = "Microsoft.Resources.ResourceDeleteSuccess"
WRITTEN = "Microsoft.Resources.ResourceWriteSuccess"
UNSUBSCRIBED = "Microsoft.EventGrid.SubscriptionDeletedEvent"
LOSSES = {
    "lost-events": ("DeadLetteredCount", 0, "PT5M", "PT15M"),
    "dropped-events": ("DroppedEventCount", 0, "PT5M", "PT15M"),
    "delivery-failing": ("DeliveryAttemptFailCount", 5, "PT15M", "PT1H"),
}
"""Metric, what it exceeds, and how often and over how long it is looked at."""


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
    loaded = {
        "wideFilter": "loadJsonContent('../event-filter.json').eventSubscriptions",
        "narrowFilter": "loadJsonContent('../event-filter-narrow.json').eventSubscriptions",
        "shipped": "narrow ? narrowFilter : wideFilter",
    }
    yield from differences({name: one.value for name, one in file.variables.items()}, loaded, "filters")
    (use,) = deployment.uses("event-subscriptions")
    if "deliveryGrants" not in use.body.get("dependsOn", []):
        yield "subscriptions are made before the topic may deliver"


def filters_keep_event_grids_limits(deployment: Deployment) -> Iterator[str]:
    for one in (*shipped(deployment), *shipped(deployment, "-narrow")):
        advanced = one["filter"].get("advancedFilters", [])
        values = sum(len(each.get("values", [])) for each in advanced)
        if len(advanced) > MOST_VALUES or values > MOST_VALUES:
            yield f"{one['name']}: {values} values in {len(advanced)} filters"
        for each in advanced:
            if each["key"] != "subject" or each["operatorType"] not in OPERATORS:
                yield f"{one['name']}: {each}"


def shipped(deployment: Deployment, kind: str = "") -> list[dict[str, Any]]:
    """Event subscriptions of one of the two filters."""
    return list(deployment.json(f"event-filter{kind}.json")["eventSubscriptions"])


def what_is_acted_on_passes_a_filter(deployment: Deployment) -> Iterator[str]:
    """Each event that the parser acts on is delivered once, and no type of event that it ignores."""
    filters = {one["name"]: one["filter"] for one in shipped(deployment)}
    for event_type, subject in acted_on():
        passed = [name for name, one in filters.items() if passes(one, event_type, subject)]
        if len(passed) != 1:
            yield f"{event_type} of {subject} passes {passed}"
    known = {event_type for event_type, _ in acted_on()}
    for name, one in filters.items():
        yield from (f"{name}: {extra}" for extra in set(one["includedEventTypes"]) - known)
    # A write of anything but a linker is ignored, and there are many.
    if any(passes(one, WRITTEN, IDENTITY) for one in filters.values()):
        yield "writes of everything are delivered"


def the_narrow_filter_delivers_less_and_nothing_twice(deployment: Deployment) -> Iterator[str]:
    """That it has every type of the catalogue, the catalogue's own tests hold."""
    filters = [one["filter"] for one in shipped(deployment, "-narrow")]
    for event_type, subject in acted_on():
        if sum(passes(one, event_type, subject) for one in filters) > 1:
            yield f"{event_type} of {subject} comes twice"
    for subject in (LINKER, CLUSTER, IDENTITY, GROUP):
        if not any(passes(one, DELETED, subject) for one in filters):
            yield f"the deletion of {subject} is not delivered"
    if not any(passes(one, WRITTEN, LINKER) for one in filters):
        yield "writes of linkers are not delivered"
    disk = f"{GROUP}/providers/Microsoft.Compute/disks/one"
    if any(passes(one, DELETED, disk) for one in filters):
        yield "it is not narrow"


@functools.cache
def acted_on() -> tuple[tuple[str, str], ...]:
    """Event types and subjects that the parser acts on: one of each kind that it knows."""
    found = []
    ids = [LINKER, CLUSTER, IDENTITY, f"{IDENTITY}/federatedIdentityCredentials/fc", GROUP]
    watched = catalogue().watched_types()
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


@functools.cache
def types_with_reason(reason: str) -> frozenset[str]:
    """Event types of which the parser says that reason, whatever else is in the event."""
    found = set()
    for event_type in (DELETED, WRITTEN, UNSUBSCRIBED):
        body = {"id": "1", "eventType": event_type, "subject": "", "data": {}}
        (decision,) = events.parse(json.dumps(body), subscriptions=None, watched=frozenset())
        if decision.reason == reason:
            found.add(event_type)
    return frozenset(found)


def passes(one: Mapping[str, Any], event_type: str, subject: str) -> bool:
    """Event Grid's reading of a filter: every advanced filter must hold, casing aside."""

    def holds(each: Mapping[str, Any]) -> bool:
        found = any(value.lower() in subject.lower() for value in each["values"])
        return found is OPERATORS[each["operatorType"]]

    return event_type in one["includedEventTypes"] and all(map(holds, one.get("advancedFilters", [])))


def losses(deployment: Deployment) -> list[dict[str, Any]]:
    """What is told of events that do not arrive."""
    return list(deployment.module("event-subscriptions").variables["losses"].value)


def lost_events_are_told(deployment: Deployment) -> Iterator[str]:
    """Metrics of system topics: learn.microsoft.com/azure/event-grid/monitor-push-reference."""
    alert = deployment.module("event-subscriptions").resource("Microsoft.Insights/metricAlerts")
    told = {
        one["alert"]: (one["metric"], one["threshold"], one["frequency"], one["window"])
        for one in losses(deployment)
    }
    if told != LOSSES:
        yield f"told are {told}"
    (criterion,) = alert.properties["criteria"]["allOf"]
    expected = {
        "metricName": "loss.metric",
        "timeAggregation": "Total",
        "operator": "GreaterThan",
        "threshold": "loss.threshold",
        "dimensions": [
            {
                "name": "EventSubscriptionName",
                "operator": "Include",
                "values": "map(shipped, one => '${one.name}-${suffix}')",
            }
        ],
    }
    yield from differences(criterion, expected, "criterion")
    expected = {
        "enabled": True,
        "scopes": ["topic.id"],
        "evaluationFrequency": "loss.frequency",
        "windowSize": "loss.window",
    }
    yield from differences(alert.properties, expected, "alert")
    made = (alert.loop, alert.condition, alert.body["name"])
    if made != ("loss losses", "(alertEnabled)", "'mooring-${loss.alert}-${suffix}'"):
        yield f"made are {made}"


RULES = (
    the_topic_is_the_subscriptions,
    events_go_to_the_queue_and_never_just_away,
    filters_keep_event_grids_limits,
    what_is_acted_on_passes_a_filter,
    the_narrow_filter_delivers_less_and_nothing_twice,
    lost_events_are_told,
)
