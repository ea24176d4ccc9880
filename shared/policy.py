"""The policy: which workloads may be connected to what. Nothing is allowed that is not listed.

The app holds the right to assign roles; this file is what keeps a sender of messages from using that right
for anything they like. It is TOML (``policy.sample.toml`` explains every line) and belongs to the operator.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NoReturn, Self

from shared import naming
from shared.errors import PermanentError, RefusedError
from shared.policy_rules import AUTH_KINDS, Allow, dimensions, id_matches, rule_for
from shared.spec import ConnectionSpec

PROTECTED = ("kube-system", "kube-public", "kube-node-lease", "gatekeeper-system", "sc-system", "azure-*")
"""Namespaces that belong to the cluster's own machinery, Service Connector's included."""
_CLUSTER_TYPE = "microsoft.containerservice/managedclusters"
_IDENTITY_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
_PATTERN = re.compile(r"[a-z0-9*?-]{1,63}")
_CLUSTER_PATTERN = re.compile(r"(/[a-z0-9._()*?-]+){8}")
_HEADER = re.compile(r"\s*\[\[?\s*(\w+)\s*\]\]?\s*(?:#.*)?$")
_TARGET_TYPE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_REQUIRED = ("clusters", "namespaces", "subscriptions", "target_types")
_OPTIONAL = ("roles", "identities", "service_accounts", "auth")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy file that was read and understood as a whole."""

    allow: tuple[Allow, ...] = ()
    protected: tuple[str, ...] = PROTECTED

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a policy.

        Args:
            text: TOML.

        Raises:
            PermanentError: ``policy-unreadable`` with the line; half a policy is no policy.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            end = f"at line {text.count('\n') + 1}, the end"
            raise _unreadable(str(error).replace("at end of document", end)) from None
        reader = _Reader(text)
        if type(document.get("version")) is not int or document["version"] != 1:
            reader.fail("version = 1 is required", -1, "version")
        reader.check_keys(document, ("version",), ("allow", "protected"), -1)
        protected = document.get("protected", {})
        if not isinstance(protected, dict):
            reader.fail("[protected] is a table", -1, "protected")
        reader.check_keys(protected, (), ("namespaces",), -1)
        allow = document.get("allow", [])
        if not isinstance(allow, list) or not all(isinstance(rule, dict) for rule in allow):
            reader.fail("every rule starts with [[allow]]", -1, "allow")
        return cls(
            allow=tuple(reader.rule(index, rule) for index, rule in enumerate(allow)),
            protected=reader.texts(protected, "namespaces", -1, _namespace) if protected else PROTECTED,
        )

    def protects(self, namespace: str) -> bool:
        """Say whether a namespace is the cluster's own: nothing is made, watched or pruned there."""
        return any(fnmatchcase(namespace, pattern) for pattern in self.protected)

    def watches(self, cluster_id: str, namespace: str) -> bool:
        """Say whether objects of a namespace may be looked at: some rule lists it, and none protects it."""
        if self.protects(namespace):
            return False
        folded = naming.fold_id(cluster_id)
        return any(
            any(id_matches(pattern, folded) for pattern in rule.clusters)
            and any(fnmatchcase(namespace, pattern) for pattern in rule.namespaces)
            for rule in self.allow
        )

    def names(self, identity_id: str) -> bool:
        """Say whether requests may name an identity: some rule lists it."""
        return any(naming.fold_id(identity_id) in rule.identities for rule in self.allow)

    def judge(
        self, spec: ConnectionSpec, roles: Sequence[str], *, usual: Sequence[str] | None = None
    ) -> None:
        """Let a connection pass or refuse it.

        Args:
            spec: what is asked for.
            roles: names of the roles it would be given, or has.
            usual: those that the catalogue gives the target type, if ``roles`` can be others.

        Raises:
            RefusedError: ``namespace-protected``, or ``policy-denied`` naming the first thing that no rule
                lists together with what stands before it; the remedy is a rule that would allow it.
        """
        if self.protects(spec.namespace):
            raise RefusedError(
                "namespace-protected",
                f"namespace {spec.namespace} is protected by the policy",
                field="connection.namespace",
                remedy="use a namespace of your own; [protected] in the policy lists those that are not",
            )
        left = self.allow
        for dimension, field, value, holds in dimensions(spec, roles, roles if usual is None else usual):
            left = tuple(rule for rule in left if holds(rule))
            if not left:
                raise RefusedError(
                    "policy-denied",
                    f"no [[allow]] of the policy lists the {dimension} {value}",
                    field=field,
                    remedy=f"to allow it, add to the policy:\n{rule_for(spec, roles)}",
                )


def _unreadable(detail: str) -> PermanentError:
    return PermanentError("policy-unreadable", detail, remedy="compare the policy with policy.sample.toml")


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """Turns TOML values into rules, and faults into messages with a line."""

    text: str

    def rule(self, index: int, table: Mapping[str, Any]) -> Allow:
        self.check_keys(table, _REQUIRED, _OPTIONAL, index)
        return Allow(
            clusters=self.texts(table, "clusters", index, _cluster),
            namespaces=self.texts(table, "namespaces", index, _namespace),
            subscriptions=self.texts(table, "subscriptions", index, _subscription),
            target_types=self.texts(table, "target_types", index, _target_type),
            roles=self.texts(table, "roles", index, _role) if "roles" in table else None,
            identities=self.texts(table, "identities", index, _identity) if "identities" in table else (),
            service_accounts=(
                self.texts(table, "service_accounts", index, _account) if "service_accounts" in table else ()
            ),
            auth=self.texts(table, "auth", index, _auth) if "auth" in table else AUTH_KINDS[:1],
        )

    def check_keys(
        self, table: Mapping[str, Any], required: Sequence[str], optional: Sequence[str], index: int
    ) -> None:
        for key in table:
            if key not in (*required, *optional):
                self.fail(f"{key} is not a key of the policy", index, key)
        for key in required:
            if key not in table:
                self.fail(f"{key} is missing", index, "")

    def texts(
        self, table: Mapping[str, Any], key: str, index: int, read: Callable[[str], str]
    ) -> tuple[str, ...]:
        values = table.get(key)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self.fail(f"{key} is a list of strings", index, key)
        found = []
        for value in values:
            try:
                found.append(read(value))
            except ValueError as error:
                self.fail(f"{key}: {value[:80]!r} {error}", index, key)
        return tuple(found)

    def fail(self, message: str, index: int, key: str) -> NoReturn:
        raise _unreadable(f"{message} (at line {self._line(index, key)})")

    def _line(self, index: int, key: str) -> int:
        """Line of a key in the rule of that index (-1: outside of all rules), else of the rule itself."""
        rules, at, first = -1, -1, 1
        for number, line in enumerate(self.text.splitlines(), 1):
            header = _HEADER.match(line)
            if header:
                rules += header[1] == "allow"
                at = rules if header[1] == "allow" else -1
                first = number if header[1] == "allow" and at == index else first
            named = key and re.match(rf"[\s\[\"']*{re.escape(key)}\b", line)
            if named and (at == index or (header and index < 0)):
                return number
        return first


def _cluster(value: str) -> str:
    folded = naming.fold_id(value)
    literal = naming.is_guid(naming.subscription_of(folded)) and naming.type_of(folded) == _CLUSTER_TYPE
    if not literal or not _CLUSTER_PATTERN.fullmatch(folded):
        raise ValueError("is not a managed cluster's id (only its group and name may have * and ?)")
    return folded


def _namespace(value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise ValueError("is not a namespace or a pattern of * and ?")
    return value


def _account(value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise ValueError("is not a service account or a pattern of * and ?")
    return value


def _subscription(value: str) -> str:
    if not naming.is_guid(value):
        raise ValueError("is not the GUID of a subscription")
    return value.lower()


def _target_type(value: str) -> str:
    if not _TARGET_TYPE.fullmatch(value):
        raise ValueError("is not the name of a target type")
    return value


def _role(value: str) -> str:
    if not value.strip():
        raise ValueError("is not the name of a role")
    return value.strip().lower()


def _auth(value: str) -> str:
    if value not in AUTH_KINDS:
        raise ValueError(f"is none of {', '.join(AUTH_KINDS)}")
    return value


def _identity(value: str) -> str:
    if fault := naming.id_fault(value, _IDENTITY_TYPE):
        raise ValueError(f"is refused: {fault}")
    return naming.fold_id(value)
