"""An API server's reading of ``infra/kubernetes/admission.yaml``, by CEL's own C++ runtime.

Source: kubernetes.io, "Validating Admission Policy". What the server leaves out of a request while it is
empty (``subResource``) is left out here, too; a rule that ends in an error fails the test, as the server
refuses then (``failurePolicy: Fail``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from cel_expr_python import cel

FILE = Path(__file__).parents[2] / "infra" / "kubernetes" / "admission.yaml"
PLACEHOLDER = "<APP_PRINCIPAL_ID>"
APP = "0f1e2d3c-4b5a-4968-8776-655443322110"
GIVEN = ("request", "object", "oldObject", "namespaceObject", "variables")
PLURALS = {
    "Secret": "secrets",
    "ConfigMap": "configmaps",
    "ServiceAccount": "serviceaccounts",
    "SecretProviderClass": "secretproviderclasses",
}


def documents(app: str = APP) -> list[dict[str, Any]]:
    """The policy and its binding, for an app."""
    return list(yaml.safe_load_all(FILE.read_text(encoding="utf-8").replace(PLACEHOLDER, app)))


@functools.cache
def _compiled(expression: str) -> cel.Expression:
    return _environment().compile(expression)


@functools.cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables=dict.fromkeys(GIVEN, cel.Type.DYN))


def refusal(
    operation: str,
    kind: str,
    *,
    new: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
    namespace: str = "shop",
    namespace_labels: Mapping[str, str] | None = None,
    sub_resource: str = "",
    user: str = APP,
) -> str:
    """Why the policy refuses a request, empty if it does not.

    Args:
        operation: ``CREATE``, ``UPDATE`` or ``DELETE``.
        kind: of the object.
        new: the object as it is to be.
        old: the object as it is.
        namespace: where.
        namespace_labels: of the namespace.
        sub_resource: such as ``token``.
        user: who asks.
    """
    spec = documents()[0]["spec"]
    request: dict[str, Any] = {
        "operation": operation,
        "resource": {"resource": PLURALS[kind]},
        "namespace": namespace,
        "userInfo": {"username": user},
        **({"subResource": sub_resource} if sub_resource else {}),
    }
    labels = {"labels": dict(namespace_labels)} if namespace_labels else {}
    data: dict[str, Any] = {
        "request": request,
        "object": new,
        "oldObject": old,
        "namespaceObject": {"metadata": {"name": namespace, **labels}},
        "variables": {},
    }
    if not all(_value(one["expression"], data) for one in spec["matchConditions"]):
        return ""
    for one in spec["variables"]:
        value = _compiled(one["expression"]).eval(data=data)
        # The server computes a variable when a rule asks for it: an error there is none where no rule does.
        if value.type() != cel.Type.ERROR:
            data["variables"] = {**data["variables"], one["name"]: value.plain_value()}
    return next((one["message"] for one in spec["validations"] if not _value(one["expression"], data)), "")


def _value(expression: str, data: Mapping[str, Any]) -> bool:
    value = _compiled(expression).eval(data=dict(data))
    if value.type() == cel.Type.ERROR:
        raise ValueError(f"{expression}: {value.value()}")
    return bool(value.value())
