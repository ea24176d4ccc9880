"""Which rights the product's calls need, told from the emulators' journals, and which infra/ gives it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.arm.ids import parse_id
from sandbox.kube.paths import addressed

INFRA = Path(__file__).resolve().parents[2] / "infra"
ARM_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
UNAUTHENTICATED = 401
CREATED = 201
Call = Mapping[str, Any]


def arm_actions(calls: Iterable[Call]) -> set[str]:
    """Actions that Resource Manager asks for, folded; those of polls are not asked for."""
    return {action for call in calls if call["status"] != UNAUTHENTICATED for action in _arm_action(call)}


def _arm_action(call: Call) -> Iterator[str]:
    target = parse_id(call["path"])
    parts = target.text.lower().split("/")
    if not target.namespace:
        ending = "/resources" if parts[-1] == "resources" else ""
        group = "/resourcegroups" if "resourcegroups" in parts else ""
        yield f"microsoft.resources/subscriptions{group}{ending}/{ARM_VERBS[call['method']]}"
    elif not target.types:
        yield "microsoft.resources/subscriptions/providers/read"
    elif not any(part.startswith(("operation", "asyncoperation")) for part in parts[-2:]):
        verb = "action" if call["method"] == "POST" else ARM_VERBS[call["method"]]
        yield f"{target.type}/{verb}".lower()


def kubernetes_verbs(calls: Iterable[Call]) -> set[str]:
    """``group/resource verb`` of each call to a stored kind; documents of the API need no role."""
    return {right for call in calls if call["status"] != UNAUTHENTICATED for right in _kubernetes(call)}


def _kubernetes(call: Call) -> Iterator[str]:
    _, _, rest = call["path"].partition("/clusters/")
    target = addressed(rest.partition("/")[2].strip("/"))
    if target is None:
        return
    plural = target.resource.plural
    resource = f"{plural}/{target.subresource}" if target.subresource else plural
    named = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
    verb = named[call["method"]]
    if not target.name and call["method"] in {"GET", "DELETE"}:
        verb = {"GET": "list", "DELETE": "deletecollection"}[call["method"]]
    if verb == "list" and "watch=" in call["query"]:
        verb = "watch"
    yield f"{target.resource.group}/{resource} {verb}"
    if verb == "patch" and call["status"] == CREATED:
        yield f"{target.resource.group}/{resource} create"  # server-side apply of what was not there


def arm_granted() -> set[str]:
    """Folded actions of all the roles in ``infra/roles``."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in (INFRA / "roles").glob("*.json")]
    return {action.lower() for role in files for action in role.get("actions", ())}


def kubernetes_granted() -> set[str]:
    """``group/resource verb`` of all the roles in ``infra/kubernetes``."""
    roles = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in (INFRA / "kubernetes").glob("role*.yaml")
    ]
    return {
        f"{group}/{resource} {verb}"
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def missing(used: set[str], granted: set[str], free: Mapping[str, str]) -> list[str]:
    """Rights that calls needed and no role gives; ``free`` are those that everybody has."""
    return sorted(used - granted - {name.lower() for name in free} - set(free))


def needless(used: set[str], granted: set[str], unseen: Mapping[str, str]) -> list[str]:
    """Rights that roles give and no call needed, and exceptions that are none any more."""
    excepted = {name.lower() for name in unseen} | set(unseen)
    idle = {name for name in granted - used if name not in excepted}
    stale = {f"{name} is listed as unseen" for name in unseen if {name, name.lower()} & used}
    return sorted(idle | stale)
