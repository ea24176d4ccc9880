"""One request to one cluster: what it addresses, whether it may, what it does."""

from __future__ import annotations

import dataclasses
from typing import Any

from aiohttp import web

from sandbox.kube import discovery, errors, reviews
from sandbox.kube.authentication import Authenticator, User
from sandbox.kube.authorization import Action
from sandbox.kube.clusters import Cluster
from sandbox.kube.errors import ApiError, Cause
from sandbox.kube.paging import page
from sandbox.kube.patch import APPLY_PATCH, PATCH_TYPES
from sandbox.kube.paths import addressed, reviewed
from sandbox.kube.registry import Target, WriteOptions
from sandbox.kube.representation import BODY_TYPES, Shape, decoded
from sandbox.kube.resources import REVIEWS, Object
from sandbox.kube.selectors import Predicate, field_predicate, label_predicate
from sandbox.kube.validation import check_options
from sandbox.kube.watch import Watch

_TRUE = {"1", "t", "T", "true", "True", "TRUE"}
_HEALTH = {"healthz", "livez", "readyz"}


async def answer(
    request: web.Request,
    cluster: Cluster,
    authenticator: Authenticator,
    path: str,
) -> web.StreamResponse:
    """Answer a request to a cluster.

    Args:
        request: As it came.
        cluster: The cluster it is for.
        authenticator: Knows the callers.
        path: What follows the cluster's root.
    """
    try:
        user = await authenticator.user(request.headers.get("Authorization"), cluster.issuer)
        user = _impersonated(request, cluster, user)
        request["caller"] = user.name
        call = _Call(request, cluster, authenticator, user)
        return await call.answer(path.strip("/"))
    except ApiError as error:
        return web.json_response(error.status, status=error.code)


def _impersonated(request: web.Request, cluster: Cluster, user: User) -> User:
    name = request.headers.get("Impersonate-User")
    if not name:
        return user
    groups = tuple(request.headers.getall("Impersonate-Group", []))
    # Every group that is asked for needs the right too; those of an account are implied by its name.
    wanted = [Action(verb="impersonate", resource="groups", name=group) for group in groups]
    if name.startswith("system:serviceaccount:"):
        namespace, _, account = name.removeprefix("system:serviceaccount:").partition(":")
        wanted.append(
            Action(verb="impersonate", resource="serviceaccounts", namespace=namespace, name=account),
        )
        groups = groups or ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    else:
        wanted.append(Action(verb="impersonate", resource="users", name=name))
    for action in wanted:
        cluster.authorizer.require(user, action)
    return User(name, (*groups, "system:authenticated"))


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    request: web.Request
    cluster: Cluster
    authenticator: Authenticator
    user: User

    async def answer(self, path: str) -> web.StreamResponse:
        target = addressed(path)
        if target is not None and target.resource.group not in self.cluster.absent:
            return await self._resource(target)
        review = reviewed(path)
        if review is not None:
            return await self._review(*review)
        return self._document(path)

    def _require(self, verb: str, target: Target) -> None:
        resource = target.resource.plural
        namespace = target.name if resource == "namespaces" else target.namespace
        self.cluster.authorizer.require(
            self.user,
            Action(
                verb=verb,
                group=target.resource.group,
                resource=f"{resource}/{target.subresource}" if target.subresource else resource,
                namespace=namespace,
                name=target.name,
            ),
        )

    def _document(self, path: str) -> web.Response:
        action = Action(verb=self.request.method.lower(), path=f"/{path}")
        self.cluster.authorizer.require(self.user, action)
        if self.request.method != "GET":
            raise errors.method_not_allowed()
        if path in _HEALTH:
            return web.Response(text="ok")
        if path == ".well-known/openid-configuration":
            return web.json_response(self.cluster.issuer.metadata())
        if path == "openid/v1/jwks":
            return web.json_response(self.cluster.issuer.keys(), content_type="application/jwk-set+json")
        document = discovery.document(path, self.cluster.absent)
        if document is None:
            return web.Response(status=404, text="404 page not found\n")
        return web.json_response(document)

    async def _review(self, group: str, plural: str) -> web.Response:
        kind = REVIEWS[(group, plural)]
        if self.request.method != "POST":
            raise errors.method_not_allowed()
        self.cluster.authorizer.require(self.user, Action(verb="create", group=group, resource=plural))
        body = await self._body(BODY_TYPES)
        if not isinstance(body, dict):
            raise errors.bad_request(f"the body is no {kind}")
        if kind == "TokenReview":
            answered = await reviews.token_review(body, self.cluster.issuer, self.authenticator)
        elif kind == "SelfSubjectRulesReview":
            answered = reviews.rules_review(body, self.user, self.cluster.authorizer)
        else:
            answered = reviews.access_review(kind, body, self.user, self.cluster.authorizer)
        return web.json_response(answered, status=201)

    async def _resource(self, target: Target) -> web.StreamResponse:
        method = self.request.method
        query = self.request.query
        if method == "GET" and not target.name:
            if query.get("watch") in _TRUE:
                self._require("watch", target)
                return await self._watch(target)
            self._require("list", target)
            return self._list(target)
        verb = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(
            method
        )
        if verb == "delete" and not target.name:
            verb = "deletecollection"
        if verb is None:
            raise errors.method_not_allowed()
        self._require(verb, target)
        if target.subresource == "token":
            return await self._token(target)
        if target.name and verb == "create":
            raise errors.method_not_allowed()
        if not target.name and verb in {"update", "patch"}:
            raise errors.method_not_allowed()
        if target.resource.namespaced and not target.namespace:
            # Without a namespace only reads across all of them are served.
            raise errors.method_not_allowed()
        shape = Shape.asked(self.request.headers.get("Accept", ""), query.get("includeObject", ""))
        if verb == "get":
            return self._single(target, shape, self.cluster.registry.get(target))
        if verb in {"delete", "deletecollection"}:
            if target.subresource:
                raise errors.method_not_allowed()
            return await self._delete(target, shape)
        return await self._write(verb, target, shape)

    def _single(self, target: Target, shape: Shape, shown: Object, *, created: bool = False) -> web.Response:
        return web.json_response(shape.single(target.resource, shown), status=201 if created else 200)

    def _predicate(self, target: Target) -> Predicate | None:
        labels = self.request.query.get("labelSelector", "").strip()
        fields = self.request.query.get("fieldSelector", "").strip()
        if not labels and not fields:
            return None
        by_labels, by_fields = label_predicate(labels), field_predicate(fields, target.resource)
        return lambda stored: by_labels(stored) and by_fields(stored)

    def _number(self, name: str) -> int:
        text = self.request.query.get(name, "") or "0"
        if not text.isdigit():
            raise errors.bad_request(f"strconv.ParseInt: parsing {text!r}: invalid syntax")
        return int(text)

    def _shape(self) -> Shape:
        accept = self.request.headers.get("Accept", "")
        return Shape.asked(accept.replace(";stream=watch", ""), self.request.query.get("includeObject", ""))

    def _list(self, target: Target) -> web.Response:
        metadata, objects = page(
            self.cluster.store,
            target.resource,
            target.namespace,
            self._predicate(target),
            limit=self._number("limit"),
            token=self.request.query.get("continue", ""),
        )
        return web.json_response(self._shape().collection(target.resource, objects, metadata))

    async def _watch(self, target: Target) -> web.StreamResponse:
        watch = Watch(self.cluster.store, target, self._predicate(target), self._shape())
        since = self.request.query.get("resourceVersion", "")
        return await watch.serve(self.request, since, self._number("timeoutSeconds"))

    async def _body(self, accepted: tuple[str, ...]) -> Any:
        try:
            raw = await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            message = "the request body is too large: limit is 3145728"
            raise ApiError(413, "RequestEntityTooLarge", message) from None
        return decoded(raw, self.request.headers.get("Content-Type", ""), accepted)

    def _dry_run(self, kind: str, body: Any = None) -> bool:
        values = self.request.query.getall("dryRun", [])
        if isinstance(body, dict):
            values = [*values, *(body.get("dryRun") or [])]
        if any(value != "All" for value in values):
            message = f'Unsupported value: {values}: supported values: "All"'
            raise check_options(kind, [Cause("FieldValueNotSupported", message, "dryRun")])
        return bool(values)

    async def _token(self, target: Target) -> web.Response:
        if self.request.method != "POST":
            raise errors.method_not_allowed()
        body = await self._body(BODY_TYPES)
        account = self.cluster.registry.get(target)
        return web.json_response(self.cluster.issuer.token_request(account, body), status=201)

    async def _delete(self, target: Target, shape: Shape) -> web.Response:
        body = await self._body(BODY_TYPES)
        options = dict(body) if isinstance(body, dict) else body
        policy = self.request.query.get("propagationPolicy")
        if policy and (options is None or isinstance(options, dict)):
            options = {"propagationPolicy": policy, **(options or {})}
        dry_run = self._dry_run("DeleteOptions", options)
        if target.name:
            last = self.cluster.deletion.delete(target, options, dry_run=dry_run)
            return self._single(target, shape, last)
        gone = self.cluster.deletion.delete_collection(
            target,
            self._predicate(target),
            options,
            dry_run=dry_run,
        )
        metadata = {"resourceVersion": str(self.cluster.store.version)}
        return web.json_response(shape.collection(target.resource, gone, metadata))

    async def _write(self, verb: str, target: Target, shape: Shape) -> web.Response:
        media_type = self.request.content_type
        accepted = PATCH_TYPES if verb == "patch" else BODY_TYPES
        if verb == "patch" and media_type not in PATCH_TYPES:
            raise errors.unsupported_media_type(PATCH_TYPES)
        body = await self._body(accepted)
        if body is None:
            raise errors.bad_request("the request has no body")
        options = self._write_options(verb, media_type)
        registry = self.cluster.registry
        if verb == "create":
            return self._single(target, shape, registry.create(target, body, options), created=True)
        if verb == "update":
            return self._single(target, shape, registry.update(target, body, options))
        stored, created = registry.patch(target, body, media_type, options)
        return self._single(target, shape, stored, created=created)

    def _write_options(self, verb: str, media_type: str) -> WriteOptions:
        kind = f"{verb.capitalize()}Options"
        manager = self.request.query.get("fieldManager", "")
        force = self.request.query.get("force") in _TRUE
        if verb == "patch" and media_type == APPLY_PATCH:
            if not manager:
                why = "is required for apply patch"
                raise check_options(kind, [Cause.required("fieldManager", why)])
        elif force:
            why = "may not be specified for non-apply patch"
            raise check_options(kind, [Cause.forbidden("force", why)])
        if len(manager) > 128:
            raise check_options(kind, [Cause.too_long("fieldManager", 128)])
        agent = self.request.headers.get("User-Agent", "unknown").partition("/")[0][:128]
        authorizer, user = self.cluster.authorizer, self.user
        return WriteOptions(
            manager=manager or agent,
            dry_run=self._dry_run(kind),
            force=force,
            admit=lambda resource, old, new: authorizer.admit_grant(user, resource, old, new),
        )
