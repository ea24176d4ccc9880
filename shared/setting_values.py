"""What a connection's settings are: the target's own under the workload's names, and constants beside them.

One place for whoever writes, compares, shows or saves them.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared import credential_shapes, templates, vault_objects
from shared.errors import RefusedError
from shared.spec import ConnectionSpec
from shared.targets import TargetType


def values(row: TargetType, spec: ConnectionSpec, facts: Mapping[str, str]) -> dict[str, str]:
    """Keys and values as the workload's object holds them.

    Args:
        row: the target's.
        spec: what was asked for.
        facts: what the values are made of.

    Raises:
        RefusedError: ``unknown-client-type``.
    """
    if spec.mounted:
        return vault_objects.parameters(row.auth[spec.settings_kind].parameters, spec, facts)
    own = row.settings(spec.client_type, facts, auth=spec.auth_kind)
    return {**{_named(spec, key): value for key, value in own.items()}, **spec.additional_settings}


def known(row: TargetType, spec: ConnectionSpec, facts: Mapping[str, str]) -> dict[str, str]:
    """Keys and values of which no part is a credential, or comes with one.

    Raises:
        RefusedError: ``unknown-client-type``.
    """
    source = row.auth[spec.settings_kind].keys
    if source is None:
        return values(row, spec, facts)
    told = {**facts, **{name: templates.fill(template, facts) for name, template in source.named.items()}}
    own = row.setting_templates(spec.client_type, facts, auth=spec.auth_kind)
    plain = {key: one for key, one in own.items() if templates.places(one) <= set(told)}
    named = {_named(spec, key): templates.fill(template, told) for key, template in plain.items()}
    return {**named, **spec.additional_settings}


def keys(row: TargetType, spec: ConnectionSpec, *, variant: str = "") -> tuple[str, ...]:
    """Keys of one variant of the target, or of every, in alphabetical order."""
    if spec.mounted:
        return tuple(sorted(row.auth[spec.settings_kind].parameters))
    own = row.setting_keys(spec.client_type, auth=spec.auth_kind, variant=variant)
    named = {_named(spec, key) for key in own}
    return tuple(sorted(named | set(spec.additional_settings)))


def harmless(row: TargetType, spec: ConnectionSpec) -> frozenset[str]:
    """Keys whose values hold no credential; none if that is unknown, or the connection has one."""
    if not spec.by_identity:
        return frozenset()
    if spec.mounted:
        return frozenset(row.auth[spec.settings_kind].parameters)
    named = {_named(spec, key) for key in row.harmless_keys(spec.client_type)}
    # Connections of before such names were refused may have them.
    constants = {key for key in spec.additional_settings if not credential_shapes.named(key)}
    return frozenset(named | constants)


def check(row: TargetType, spec: ConnectionSpec) -> None:
    """Refuse names that no setting has, and two settings of one name.

    Raises:
        RefusedError: ``unknown-setting`` or ``setting-collision``.
    """
    own = row.setting_keys(spec.client_type, auth=spec.auth_kind)
    unknown = sorted(set(spec.customized_keys) - own)
    if unknown:
        raise RefusedError(
            "unknown-setting",
            f"{row.name} has no setting {unknown[0]} for client type {spec.client_type}",
            field="connection.customizedKeys",
            remedy=f"use one of {', '.join(sorted(own))}",
        )
    named = [_named(spec, key) for key in sorted(own)]
    twice = {name for name in named if named.count(name) > 1}
    taken = sorted(twice | set(named) & set(spec.additional_settings))
    if taken:
        ours = taken[0] in spec.additional_settings
        raise RefusedError(
            "setting-collision",
            f"two settings would have the name {taken[0]}",
            field=f"connection.{'additionalSettings' if ours else 'customizedKeys'}",
            remedy="give each setting a name of its own",
        )


def _named(spec: ConnectionSpec, key: str) -> str:
    return spec.customized_keys.get(key, key)
