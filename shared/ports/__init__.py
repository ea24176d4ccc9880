"""What the core needs of the outside, as small protocols of plain values.

Adapters stand in ``shared/clients``; strict in-memory twins in ``tests/fakes``. Both pass the same
contract tests. Every method raises only ``TransientError`` or ``PermanentError``
(``StateConflictError`` where it says so); "not there" is ``None``, never an exception.
"""

from shared.ports.azure import (
    Credential,
    Grants,
    Identities,
    Identity,
    Linker,
    Linkers,
    Lock,
    Resources,
    RoleAssignment,
    Roles,
)
from shared.ports.databases import Access, Databases, DatabaseServer, DatabaseUser, Privileges
from shared.ports.kubernetes import Clusters, KubeObject, ManagedCluster, Prover, Use, without_entra
from shared.ports.queues import Clock, DeadLetterBlob, DeadLetters, OutcomeTopic, StepQueue
from shared.ports.tables import Change, Columns, Insert, Remove, Replace, Row, StateStore, Upsert
from shared.ports.telemetry import SILENCE, Fields, Span, Telemetry

__all__ = [
    "SILENCE",
    "Access",
    "Change",
    "Clock",
    "Clusters",
    "Columns",
    "Credential",
    "DatabaseServer",
    "DatabaseUser",
    "Databases",
    "DeadLetterBlob",
    "DeadLetters",
    "Fields",
    "Grants",
    "Identities",
    "Identity",
    "Insert",
    "KubeObject",
    "Linker",
    "Linkers",
    "Lock",
    "ManagedCluster",
    "OutcomeTopic",
    "Privileges",
    "Prover",
    "Remove",
    "Replace",
    "Resources",
    "RoleAssignment",
    "Roles",
    "Row",
    "Span",
    "StateStore",
    "StepQueue",
    "Telemetry",
    "Upsert",
    "Use",
    "without_entra",
]
