"""``python -m sandbox catalogue``: every target that Service Connector knows, and what becomes of it here.

One JSON object a line for each target, auth kind and client type, or tables for people. Reads the
product's own catalogue; needs no sandbox and no network.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from shared.catalogue import catalogue
from shared.target_parts import AZURE_ROLE, AuthKind, Role
from shared.targets import WORKLOAD_IDENTITY, WORKS, TargetType

NO_ROLES = frozenset({"secret"})
"""Auth kinds that give the workload's identity no role."""
UNDOCUMENTED = "Service Connector documents no settings for this client type"
COLUMNS = (
    "target",
    "auth kinds",
    "client types",
    "roles",
    "roles by intent",
    "requires",
    "parts",
    "keys for `none`",
)
_PLACE = re.compile(r"\{(\w+)\}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line (the default)")
    form.add_argument("--table", action="store_true", help="Markdown tables for people")


def run(arguments: argparse.Namespace) -> int:
    """Print the catalogue."""
    if arguments.table:
        print(table())
        return 0
    for row in combinations():
        print(json.dumps(row, separators=(",", ":")))
    return 0


def combinations() -> Iterator[dict[str, Any]]:
    """One object for each target, auth kind and client type.

    Values are templates; what Azure's answer decides is shown as it looks in the public cloud. Where the
    target's kind decides between several variants, the object is of the first and lists the others.
    """
    for row in catalogue().rows:
        for auth_type, kind in row.auth.items():
            for client_type in _client_types(row, kind):
                yield _of_client_type(row, auth_type, kind, client_type)


def table() -> str:
    """Markdown: a table with a line for each target, and one with the reasons for what does not work."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in catalogue().rows:
        for name, kind in row.auth.items():
            if kind.reason:
                reasons.setdefault((kind.status, kind.reason), []).append(f"`{row.name}` {name}")
    return "\n".join(
        [
            f"| {' | '.join(COLUMNS)} |",
            "|" + "---|" * len(COLUMNS),
            *(f"| {' | '.join(_cells(row))} |" for row in catalogue().rows),
            "",
            "| status | reason | where |",
            "|---|---|---|",
            *(f"| {status} | {reason} | {', '.join(where)} |" for (status, reason), where in reasons.items()),
        ]
    )


def _of_client_type(row: TargetType, auth_type: str, kind: AuthKind, client_type: str) -> dict[str, Any]:
    base = {"target": row.name, "authType": auth_type, "clientType": client_type}
    variants = [
        {
            **({"variant": group.variant} if group.variant else {}),
            "keys": {key: _publicly(row, template) for key, template in group.values.items()},
            "roles": [
                {"name": role.name, "roleDefinitionId": role.id}
                for role in _granted(row, auth_type, group.variant)
            ],
        }
        for group in kind.groups(client_type)
    ]
    if not variants:
        reason = kind.reason if kind.status == "not-offered" else UNDOCUMENTED
        return {**base, "status": "not-offered", "reason": reason, "keys": {}, "roles": []}
    first, *others = variants
    mounted = {"keysAre": "parameters", "writes": "SecretProviderClass", "parameters": dict(kind.parameters)}
    return {
        **base,
        "status": kind.status,
        **({"reason": kind.reason} if kind.reason else {}),
        **first,
        **(mounted if kind.parameters else {}),
        **({"variants": others} if others else {}),
    }


def _granted(row: TargetType, auth_type: str, variant: str) -> tuple[Role, ...]:
    """Roles that a workload gets without an intent; of what does not work, Service Connector's."""
    if auth_type in NO_ROLES:
        return ()
    if row.auth[auth_type].status == WORKS:
        return row.roles(variant=variant)
    return row.roles_of_connector(variant=variant)


def _client_types(row: TargetType, kind: AuthKind) -> list[str]:
    """What Service Connector lists, and what has settings besides."""
    more = (one for group in kind.settings for one in group.client_types)
    return list(dict.fromkeys(itertools.chain(row.listed_client_types, more)))


def _publicly(row: TargetType, template: str) -> str:
    """A value template with the facts of Azure's answer as they look in the public cloud."""
    return _PLACE.sub(
        lambda place: row.wanted[place[1]].publicly if place[1] in row.wanted else place[0], template
    )


def _cells(row: TargetType) -> list[str]:
    kinds = [
        f"{name}: {f'**{kind.status}**' if kind.status == WORKS else kind.status}"
        for name, kind in row.auth.items()
    ]
    works = row.works
    intents = [f"`{name}`: {_names(row, name)}" for name in row.intents]
    groups = row.auth[WORKLOAD_IDENTITY].groups("none") if works else ()
    keys = [
        (f"{group.variant}: " if group.variant else "") + ", ".join(f"`{key}`" for key in group.values)
        for group in groups
    ]
    return [
        f"`{row.name}`<br>{row.title}",
        "<br>".join(kinds),
        ", ".join(f"`{one}`" for one in row.client_types) if works else "",
        _names(row, "") + _kept_by(row) if works else "",
        "<br>".join(intents),
        "<br>".join(_required(row)),
        "<br>".join(f"`{child.suffix}`" for child in row.children),
        "<br>".join(keys),
    ]


def _kept_by(row: TargetType) -> str:
    """What the roles are, unless they are Azure's."""
    return "" if row.grants is AZURE_ROLE else f" ({row.grants.name})"


def _required(row: TargetType) -> list[str]:
    """Findings of what the row requires, with the code or the wait of each; one without is only said."""
    ends = {one.finding: one.code or one.waits or "warning" for one in row.requires}
    return [f"`{name}`: {end}" for name, end in ends.items()]


def _names(row: TargetType, intent: str) -> str:
    if row.database is not None:
        given = row.database.privileges[intent]
        return f"a user in the server: {', '.join(given.on_tables)}"
    by_variant = row.intents[intent] if intent else row.default_roles
    return "; ".join(
        (f"{variant}: " if variant else "") + ", ".join(role.name for role in roles)
        for variant, roles in by_variant.items()
    )
