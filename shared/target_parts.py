"""What a row of the target catalogue is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from shared.conditions import Condition


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A built-in Azure role."""

    name: str
    id: str
    """GUID of the role definition."""


RolesByVariant = Mapping[str, tuple[Role, ...]]
"""Roles by the target's variant; the key ``""`` stands for every variant."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A part of a target that roles can be limited to, such as a container."""

    suffix: str
    """Template of what follows the scope's id."""
    read_path: str
    """Path of a read that proves access to this part, empty if there is none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadCheck:
    """One harmless read that proves access."""

    token_scope: str
    path: str
    """Relative to the address in ``fact``."""
    fact: str
    variants: tuple[str, ...]
    """Variants that can be read; empty for all."""
    intents: tuple[str, ...]
    """Intents whose roles may read, the empty one included; empty for all."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A read that proves access, ready to be sent."""

    token_scope: str
    url: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettingGroup:
    """Setting keys and value templates that some client types share."""

    client_types: tuple[str, ...]
    variant: str
    """The variant they are for; empty for all."""
    values: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where Azure hands out a target's keys, and what its answer calls them."""

    action: str
    id_template: str
    """Of the resource whose action it is."""
    fetched: Mapping[str, str]
    """Place in the answer by placeholder: credentials, and what goes with them."""
    named: Mapping[str, str]
    """Templates of the id's names by placeholder: what is no credential and only needed with one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuthKind:
    """One way to authenticate at a target, and whether it can be asked for."""

    status: str
    """``works``, ``policy-gated``, ``deferred`` or ``not-offered``."""
    reason: str
    """Why, unless it works."""
    settings: tuple[SettingGroup, ...]
    requires: tuple[Condition, ...] | None = None
    """What Azure's answer must say instead of what the row requires."""
    keys: KeySource | None = None
    """Set if the settings hold a key of the target."""

    @property
    def client_types(self) -> tuple[str, ...]:
        """Client types that have settings, in alphabetical order."""
        return tuple(sorted({one for group in self.settings for one in group.client_types}))

    def groups(self, client_type: str) -> tuple[SettingGroup, ...]:
        """Settings of a client type: one group, or one for each variant."""
        return tuple(group for group in self.settings if client_type in group.client_types)
