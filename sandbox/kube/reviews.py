"""Questions to the API server that are never stored: who is this, may I, what may I."""

from __future__ import annotations

from typing import Any

from sandbox.kube.authentication import Authenticator, User
from sandbox.kube.authorization import Action, Authorizer
from sandbox.kube.errors import bad_request
from sandbox.kube.resources import Object
from sandbox.kube.tokens import Issuer


def access_review(kind: str, body: Object, user: User, authorizer: Authorizer) -> Object:
    """Answer a SelfSubjectAccessReview or a SubjectAccessReview.

    Raises:
        ApiError: 400 when it asks for neither a resource nor a path.
    """
    spec = body.get("spec") or {}
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (asked is None) == (path is None):
        raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    if kind == "SubjectAccessReview":
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
    if asked is not None:
        resource = asked.get("resource", "")
        if asked.get("subresource"):
            resource = f"{resource}/{asked['subresource']}"
        action = Action(
            verb=asked.get("verb", ""),
            group=asked.get("group", ""),
            resource=resource,
            namespace=asked.get("namespace", ""),
            name=asked.get("name", ""),
        )
    else:
        action = Action(verb=(path or {}).get("verb", ""), path=(path or {}).get("path", ""))
    return _answer(kind, "authorization.k8s.io/v1", spec, {"allowed": authorizer.allowed(user, action)})


def rules_review(body: Object, user: User, authorizer: Authorizer) -> Object:
    """Answer a SelfSubjectRulesReview."""
    spec = body.get("spec") or {}
    rules = list(authorizer.rules(user, spec.get("namespace", "")))
    if "system:masters" in user.groups:
        rules.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
    status = {
        "resourceRules": [rule for rule in rules if rule.get("resources")],
        "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
        "incomplete": False,
    }
    return _answer("SelfSubjectRulesReview", "authorization.k8s.io/v1", spec, status)


async def token_review(body: Object, issuer: Issuer, authenticator: Authenticator) -> Object:
    """Answer a TokenReview."""
    spec = body.get("spec") or {}
    audiences = spec.get("audiences") or issuer.audiences
    user = await authenticator.token_user(spec.get("token", ""), issuer, audiences)
    status: dict[str, Any] = {"user": {}}
    if user is not None:
        status = {
            "authenticated": True,
            "user": {"username": user.name, "uid": user.uid, "groups": list(user.groups)},
            "audiences": audiences,
        }
    return _answer("TokenReview", "authentication.k8s.io/v1", {"audiences": audiences}, status)


def _answer(kind: str, api_version: str, spec: Object, status: Object) -> Object:
    return {"kind": kind, "apiVersion": api_version, "metadata": {}, "spec": spec, "status": status}
