"""What a request says of a vault that is to be mounted into pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.request_fields import FileName, RequestModel, VaultName, VaultType
from shared.spec import PROVIDER_CLASS


class VaultObject(RequestModel):
    """One object of a vault that a pod finds as a file."""

    name: VaultName
    """Its name in the vault."""
    type: VaultType
    """``secret``, ``key`` or ``cert``."""
    alias: FileName = ""
    """Name of the file; by default the object's."""


def mount_fault(
    settings_in: str, objects: Sequence[VaultObject], *, kept: Mapping[str, Mapping[str, str]], intent: str
) -> str:
    """The first rule of mounted vaults that a wish breaks, or an empty string.

    Args:
        settings_in: kind of the object with the settings.
        objects: what is to be mounted.
        kept: by property, what only an object with settings of a program could keep.
        intent: what the workload means to do.
    """
    if settings_in != PROVIDER_CLASS:
        return f"vaultObjects: only with settingsIn {PROVIDER_CLASS}" if objects else ""
    files = [one.alias or one.name for one in objects]
    given = ", ".join(name for name, values in kept.items() if values)
    narrow = intent and any(one.type != "secret" for one in objects)
    rules = (
        (files, "vaultObjects: name at least one object of the vault"),
        (len(set(files)) == len(files), "vaultObjects: two objects would be one file; give one an alias"),
        (not given, f"{given}: a {PROVIDER_CLASS} holds no settings of a program"),
        (not narrow, "intent: its role reads secrets only; leave it out for keys and certificates"),
    )
    return next((rule for holds, rule in rules if not holds), "")


def by_file(objects: Sequence[VaultObject]) -> dict[str, dict[str, str]]:
    """The objects by name of the file, as the core stores them."""
    return {one.alias or one.name: {"name": one.name, "type": one.type} for one in objects}


def as_asked(stored: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """The objects as a request lists them."""
    return [
        {**one, **({"alias": file} if file != one["name"] else {})} for file, one in sorted(stored.items())
    ]
