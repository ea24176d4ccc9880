"""What was asked for, as a frozen value, and the base of all stored values."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base of all stored values: frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Note(Model):
    """Base of what is written whole and never changed from what was read: unknown fields are passed over.

    Not for anything that is read, changed and written back, or whose every field may forbid something.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")


PROVIDER_CLASS = "secretProviderClass"
"""Where settings are of a connection whose vault is mounted."""
CSI_DRIVER = "csiDriver"
"""The catalogue's name of Service Connector's mode ``--enable-csi``."""


class ConnectionSpec(Model):
    """What was asked for: one workload, one target."""

    name: str
    cluster_id: str
    namespace: str
    workload: str
    target_type: str
    target_id: str
    client_type: str = "none"
    intent: str = ""
    """What the workload means to do; decides the roles. Empty: Service Connector's own roles."""
    identity_id: str = ""
    """A user-assigned identity named by the request (provenance ``provided``); empty: ours."""
    service_account: str = ""
    """A service account named by the request (provenance ``provided``); empty: ours."""
    customized_keys: Mapping[str, str] = Field(default_factory=dict)
    """The workload's own names of settings, by Service Connector's names."""
    additional_settings: Mapping[str, str] = Field(default_factory=dict)
    """Constant settings beside the target's own; no credential by the request's promise."""
    auth_type: str = ""
    """How the workload proves who it is: ``secret`` by a key of the target; empty through its identity."""
    settings_in: str = ""
    """Kind of the object with the settings: ``configMap`` or ``secretProviderClass``; empty is a secret, as
    Service Connector's."""
    vault_objects: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """What a pod mounts of a vault, by name of the file: ``name`` and ``type`` of the vault's object."""

    @property
    def auth_kind(self) -> str:
        """The auth kind in the catalogue's words."""
        return self.auth_type or "workloadIdentity"

    @property
    def mounted(self) -> bool:
        """The Secrets Store CSI Driver mounts what the vault holds: settings are a SecretProviderClass."""
        return self.settings_in == PROVIDER_CLASS

    @property
    def settings_kind(self) -> str:
        """Under which of the catalogue's auth kinds its settings stand."""
        return CSI_DRIVER if self.mounted else self.auth_kind

    @property
    def by_identity(self) -> bool:
        """The workload has an identity, and no credential stands in the cluster."""
        return not self.auth_type
