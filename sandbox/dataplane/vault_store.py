"""Secrets of the emulated vaults, kept in one file of the sandbox's state."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from pathlib import Path
from typing import Any


@dataclasses.dataclass(slots=True, kw_only=True)
class SecretVersion:
    """One version of a secret, in the words of the vault's REST interface."""

    version: str
    value: str
    created: int
    updated: int
    enabled: bool = True
    content_type: str | None = None
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    not_before: int | None = None
    expires: int | None = None


@dataclasses.dataclass(slots=True, kw_only=True)
class Secret:
    """One secret: its versions, oldest first, and when it was deleted."""

    name: str
    versions: list[SecretVersion] = dataclasses.field(default_factory=list)
    deleted_at: int | None = None


class VaultStore:
    """All vaults; a vault is the id of its resource with the resource's incarnation."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._vaults: dict[str, dict[str, Secret]] = {}
        if file.exists():
            for vault, secrets in json.loads(file.read_text()).items():
                self._vaults[vault] = {name.lower(): _secret(raw) for name, raw in secrets.items()}

    def secrets(self, vault: str, *, deleted: bool = False) -> list[Secret]:
        """Living (or deleted) secrets of a vault by name."""
        found = self._vaults.get(vault, {}).values()
        return sorted((s for s in found if (s.deleted_at is not None) == deleted), key=lambda s: s.name)

    def secret(self, vault: str, name: str, *, deleted: bool = False) -> Secret | None:
        """One living (or deleted) secret; names are compared without case."""
        secret = self._vaults.get(vault, {}).get(name.lower())
        return secret if secret is not None and (secret.deleted_at is not None) == deleted else None

    def add_version(self, vault: str, name: str, value: str, body: dict[str, Any]) -> SecretVersion:
        """Write a new version."""
        now = int(time.time())
        attributes = body.get("attributes") or {}
        version = SecretVersion(
            version=uuid.uuid4().hex,
            value=value,
            created=now,
            updated=now,
            enabled=attributes.get("enabled", True),
            content_type=body.get("contentType"),
            tags=body.get("tags") or {},
            not_before=attributes.get("nbf"),
            expires=attributes.get("exp"),
        )
        secret = self._vaults.setdefault(vault, {}).setdefault(name.lower(), Secret(name=name))
        secret.versions.append(version)
        self.save()
        return version

    def forget(self, vault: str, name: str) -> None:
        """Purge a deleted secret."""
        self._vaults.get(vault, {}).pop(name.lower(), None)
        self.save()

    def save(self) -> None:
        """Write all vaults, readable by the owner only."""
        raw = {
            vault: {name: dataclasses.asdict(secret) for name, secret in secrets.items()}
            for vault, secrets in self._vaults.items()
        }
        draft = self._file.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(raw))
        draft.replace(self._file)


def _secret(raw: dict[str, Any]) -> Secret:
    versions = [SecretVersion(**version) for version in raw["versions"]]
    return Secret(name=raw["name"], versions=versions, deleted_at=raw["deleted_at"])
