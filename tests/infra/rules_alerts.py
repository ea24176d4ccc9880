"""Alerts and the workbook ask for lines, metrics and spans that the app really tells."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

from shared.metrics import METRICS
from tests.infra import rules_events
from tests.infra.deployment import ROOT, Deployment
from tests.infra.rules_resources import differences

COLUMNS = {"value", "valueCount", "valueSum", "valueMin", "valueMax"}
"""Of ``customMetrics`` (learn.microsoft.com, Azure Monitor Logs reference, AppMetrics)."""
LEVELS = {"debug": 0, "info": 0, "warning": 0, "error": 0, "log": 1}
"""Methods of a logger, and where the event's name stands."""
SENDERS = "union([topic.id], map(shipped, one => '${topic.id}/eventSubscriptions/${one.name}-${suffix}'))"
HAS = "map(roleGuids, name => subscriptionResourceId('Microsoft.Authorization/roleDefinitions', name))"
ASSIGNMENTS = [
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleAssignments/delete",
]
OPERATIONS = {
    "eventsGone": [
        "Microsoft.EventGrid/systemTopics/delete",
        "Microsoft.EventGrid/systemTopics/eventSubscriptions/delete",
    ],
    "identityTaken": ["Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write"],
    "readerChanged": ASSIGNMENTS,
    "rightsChanged": ASSIGNMENTS,
    "rolesChanged": [
        "Microsoft.Authorization/roleDefinitions/write",
        "Microsoft.Authorization/roleDefinitions/delete",
    ],
}
"""What alerts on Azure's activity log fire on."""
ACTIVITY_ALERTS = {
    "eventsGone": ("events-gone", "['topicGroupId']", SENDERS),
    "identityTaken": ("rights-changed", "['identity.outputs.id']", ""),
    "readerChanged": ("rights-changed", "['watchedId']", "['readerAssignmentId']"),
    "rightsChanged": ("rights-changed", "['group.id', 'identityGroup.id']", ""),
    "rolesChanged": ("rights-changed", "['watchedId']", HAS),
}
"""Their names, and where they look."""


SPLIT = "map(rule.by, column => { name: column operator: 'Include' values: ['*'] })"
"""Each value of a column is an alert of its own."""
TOLD_APART = {
    "step-failed": ["operation_id"],
    "unexpected": ["about"],
    "sweep-incomplete": ["detail", "place"],
}
"""Alerts of which a second one must not go unnoticed while the first has not ended."""


@functools.cache
def lines_of_the_code() -> tuple[set[str], set[str]]:
    """Event names that are logged, and names of fields."""
    events: set[str] = set()
    fields = {"connection_id", "operation_id", "step", "attempt"}
    for folder in ("shared", "handlers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
                if isinstance(node, ast.Call) and name in LEVELS:
                    said = node.args[LEVELS[name] : LEVELS[name] + 1]
                    events |= {one.value for one in said if isinstance(one, ast.Constant)}
                if isinstance(node, ast.Dict):
                    fields |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return events, fields


def queries(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """Every query that is deployed: of alerts and of the workbook."""
    for path in sorted((deployment.infra / "queries").glob("*.kql")):
        yield path.name, path.read_text(encoding="utf-8")
    for item in deployment.json("workbook/overview.json")["items"]:
        content = item["content"]
        if "query" in content:
            yield f"workbook, {content['title']}", content["query"]


def queries_ask_for_lines_that_are_written(deployment: Deployment) -> Iterator[str]:
    events, fields = lines_of_the_code()
    codes = known_codes()
    for name, text in queries(deployment):
        if not re.search(r"^traces\b", text, re.MULTILINE):
            continue
        asked = re.findall(r'message startswith "([\w-]+) ?"', text)
        yield from (f"{name}: nobody writes {event}" for event in asked if event not in events)
        if not asked:
            yield f"{name}: reads no line"
        wanted = set(re.findall(r"[\" ](\w+)=\(", text)) - {""}
        yield from (f"{name}: no line has {field}" for field in wanted - fields)
        said = set(re.findall(r'has "(?:code|reason)=([\w-]+)"', text))
        for listed in re.findall(r"code in \(([^)]*)\)", text):
            said |= set(re.findall(r'"([\w-]+)"', listed))
        yield from (f"{name}: no code {code}" for code in said - codes)


def queries_ask_for_metrics_that_are_told(deployment: Deployment) -> Iterator[str]:
    for name, text in queries(deployment):
        if not re.search(r"^customMetrics\b", text, re.MULTILINE):
            continue
        asked = re.findall(r'name == "(\w+)"', text)
        for listed in re.findall(r"name in \(([^)]*)\)", text):
            asked += re.findall(r'"(\w+)"', listed)
        yield from (f"{name}: no metric {one}" for one in asked if one not in METRICS)
        if not asked:
            yield f"{name}: reads no metric"
        has = {attribute for one in asked if one in METRICS for attribute in METRICS[one].attributes}
        wanted = set(re.findall(r"customDimensions\.(\w+)", text))
        yield from (f"{name}: {asked} has no {one}" for one in wanted - has)
        columns = set(re.findall(r"\bvalue\w*", text))
        yield from (f"{name}: no column {one}" for one in columns - COLUMNS)


def every_query_reads_what_the_app_tells(deployment: Deployment) -> Iterator[str]:
    for name, text in queries(deployment):
        first = next((line for line in text.splitlines() if not line.startswith("//")), "").partition(" |")[0]
        if first not in {"traces", "customMetrics", "dependencies", "union requests, dependencies"}:
            yield f"{name}: reads {first}"
        if first in {"traces", "customMetrics"}:
            continue
        wanted = set(re.findall(r"customDimensions\.(\w+)", text))
        yield from (f"{name}: no span has {one}" for one in wanted - lines_of_the_code()[1])


@functools.cache
def known_codes() -> set[str]:
    """Codes and waiting reasons that the reference has; another test holds it to the code."""
    text = "".join(
        Path(ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
        for page in ("errors.md", "waits.md")
    )
    return set(re.findall(r"^\| `([\w-]+)`", text, re.MULTILINE))


def every_query_is_one_alert(deployment: Deployment) -> Iterator[str]:
    rules = deployment.module("alerts").variables["rules"].value
    named = []
    for rule in rules:
        found = re.fullmatch(r"loadTextContent\('\.\./queries/([\w-]+)\.kql'\)", str(rule["query"]))
        named.append(found[1] if found else "")
        if named[-1] != rule["name"]:
            yield f"{rule['name']} asks {rule['query']}"
        if rule["severity"] not in range(4) or not re.fullmatch(r"PT(15M|30M|1H|3H)", rule["window"]):
            yield f"{rule['name']}: severity {rule['severity']}, window {rule['window']}"
    shipped = {path.stem for path in (deployment.infra / "queries").glob("*.kql")}
    if sorted(named) != sorted(shipped):
        yield f"{sorted(named)} are alerts, {sorted(shipped)} are queries"


def a_sweep_that_never_began_is_told(deployment: Deployment) -> Iterator[str]:
    """No line has an age then; the window must be longer than what is waited for."""
    text = deployment.text("queries/sweep-old.kql")
    rules = deployment.module("alerts").variables["rules"].value
    [window] = [one["window"] for one in rules if one["name"] == "sweep-old"]
    if "coalesce(ended, oldest)" not in text or window != "PT3H":
        yield f"{window}: {text}"


def an_alert_is_over_when_nothing_new_comes(deployment: Deployment) -> Iterator[str]:
    """What stays of itself, such as the message of a held step, would keep its alert fired."""
    wanted = {
        "rejected": ["extend more = depth - prev(depth)", "sumif(more, more > 0)", "where came > 0"],
        "backlog": ['where queue !in ("rejected", "connection-steps")'],
    }
    for name, parts in wanted.items():
        text = deployment.text(f"queries/{name}.kql")
        yield from (f"{name}: without {part}" for part in parts if part not in text)


def alerts_are_split_by_columns_that_their_queries_end_with(deployment: Deployment) -> Iterator[str]:
    """A misspelt column makes a rule that Azure takes, queries being not validated, and that never fires."""
    for rule in deployment.module("alerts").variables["rules"].value:
        name, columns = rule["name"], rule["by"]
        last = re.findall(r"\| summarize [^|]*? by ([^|\n]+)", deployment.text(f"queries/{name}.kql"))
        ends = [one.partition(" = ")[0].strip() for one in (last[-1] if last else "").split(",")]
        yield from (f"{name}: no column {one}" for one in columns if one not in ends)
        if columns != TOLD_APART.get(name, columns):
            yield f"{name}: split by {columns}"


def an_alert_fires_on_any_row(deployment: Deployment) -> Iterator[str]:
    made = deployment.module("alerts").resource("Microsoft.Insights/scheduledQueryRules")
    (criterion,) = made.properties["criteria"]["allOf"]
    wanted = ("rule.query", "Count", "GreaterThan", 0, SPLIT)
    keys = ("query", "timeAggregation", "operator", "threshold", "dimensions")
    found = tuple(criterion.get(key) for key in keys)
    if found != wanted:
        yield f"{found}"
    if (made.loop, made.properties["enabled"], made.properties["scopes"]) != (
        "rule rules",
        "enabled",
        ["componentsId"],
    ):
        yield f"{made.loop} {made.properties['enabled']} {made.properties['scopes']}"


def azures_own_record_tells_what_the_app_cannot(deployment: Deployment) -> Iterator[str]:
    """Word by word: a misspelt field or operation makes an alert that is valid and never fires.

    learn.microsoft.com/azure/templates/microsoft.insights/activitylogalerts; operations are those of
    ``az provider operation show``.
    """
    made = deployment.module("activity-alert").resource("Microsoft.Insights/activityLogAlerts")
    conditions = (
        "flatten([ [ { field: 'category', equals: 'Administrative' } "
        "{ field: 'status', equals: 'Succeeded' } "
        "{ anyOf: map(operations, operation => { field: 'operationName', equals: operation }) } ] "
        "empty(named) ? [] : [{ anyOf: named }] ])"
    )
    expected = {"enabled": True, "scopes": "scopes", "condition": {"allOf": conditions}}
    yield from differences(made.properties, expected, "activity alert")
    yield from differences(made.body, {"location": "global"}, "activity alert")
    named = deployment.module("activity-alert").variables["named"].value
    if named != "map(resourceIds, id => { field: 'resourceId', equals: id })":
        yield f"named is {named}"
    uses = deployment.uses("activity-alert")
    found = {
        one.name: tuple(str(one.params.get(key, "")) for key in ("alert", "scopes", "resourceIds"))
        for one in uses
    }
    if found != ACTIVITY_ALERTS:
        yield f"activity alerts {found}"
    for one in uses:
        if one.params["operations"] != OPERATIONS[one.name]:
            yield f"{one.name}: {one.params['operations']}"
    names = [(one.params["alert"], one.params["suffix"]) for one in uses]
    yield from (f"two alerts are called {one}" for one in names if names.count(one) > 1)
    (events,) = deployment.uses("event-subscriptions")
    main, made = deployment.main, deployment.module("role-definitions").outputs["made"].value
    expected = {
        "roleGuids": "union(roles.outputs.made, givenRoles)",
        "made": "map(keys, key => guid(subscription().id, suffix, key))",
        "givenRoles": (
            "filter([readerRoleGuid, identitiesRoleGuid, grantsRoleGuid, dataGrantsRoleGuid], "
            "name => !empty(name))"
        ),
    }
    told = {"made": made, "givenRoles": main.variables["givenRoles"].value, **events.params}
    yield from differences(told, expected, "roles of which an alert tells")


def every_alert_has_a_runbook_and_every_runbook_an_alert(deployment: Deployment) -> Iterator[str]:
    rules = deployment.module("alerts").variables["rules"].value
    alerts = {one["name"] for one in rules} | {one[0] for one in ACTIVITY_ALERTS.values()}
    alerts |= {one["alert"] for one in rules_events.losses(deployment)}
    yield from sorted(alerts ^ set(deployment.json("runbooks.json")))


def no_alert_waits_for_an_event_that_is_filtered_out(deployment: Deployment) -> Iterator[str]:
    """A line about an event is written only if Event Grid delivers its type, by either filter."""
    for name, text in queries(deployment):
        for reason in re.findall(r'has "reason=([\w-]+)"', text):
            needed = rules_events.types_with_reason(reason)
            for kind in ("", "-narrow"):
                passed = {
                    event_type
                    for one in rules_events.shipped(deployment, kind)
                    for event_type in one["filter"]["includedEventTypes"]
                }
                if needed and not needed & passed:
                    yield f"{name}: {reason} is said of {needed}, which event-filter{kind}.json keeps out"


def the_workbook_is_json_with_a_place_to_ask(deployment: Deployment) -> Iterator[str]:
    text = deployment.text("workbook/overview.json")
    if json.loads(text)["fallbackResourceIds"] != ["<componentsId>"]:
        yield "the workbook asks somewhere else"
    made = deployment.module("workbook").resource("Microsoft.Insights/workbooks")
    if "'<componentsId>', componentsId" not in made.properties["serializedData"]:
        yield f"{made.properties['serializedData']}"


RULES = (
    queries_ask_for_lines_that_are_written,
    queries_ask_for_metrics_that_are_told,
    every_query_reads_what_the_app_tells,
    every_query_is_one_alert,
    a_sweep_that_never_began_is_told,
    an_alert_is_over_when_nothing_new_comes,
    alerts_are_split_by_columns_that_their_queries_end_with,
    an_alert_fires_on_any_row,
    azures_own_record_tells_what_the_app_cannot,
    every_alert_has_a_runbook_and_every_runbook_an_alert,
    no_alert_waits_for_an_event_that_is_filtered_out,
    the_workbook_is_json_with_a_place_to_ask,
)
