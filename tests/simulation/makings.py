"""What is made is on record before it is made, and whoever makes it is among its users by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.naming import fold_id
from shared.users import User
from tests.simulation.ports import Run
from tests.simulation.records import Held, Records, role_thing

OBJECT_STEPS = ("service_account", "settings")


class Makings:
    """Looks at each thing that is about to be made."""

    records: Records

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail

    def role(self, run: Run, wanted: Any) -> None:
        """A role assignment is about to be made."""
        place = (fold_id(wanted.scope), wanted.name)
        self._meant(
            run,
            f"role {wanted.name} at {wanted.scope}",
            lambda held: (
                place in {(fold_id(one["scope"]), one["name"]) for one in held.assignments(ever=True)}
            ),
            thing=role_thing(wanted.scope, wanted.principal_id, wanted.role_definition_id),
        )

    def credential(self, run: Run, identity_id: str, credential: Any) -> None:
        """A credential is about to be made, or written over."""
        key = fold_id(identity_id)
        self._meant(
            run,
            f"credential {credential.name}",
            lambda held: (key, credential.name) in held.credentials(ever=True),
            thing=f"credential|{key}|{credential.issuer}|{credential.subject}",
        )

    def cluster_object(
        self, run: Run, cluster_id: str, kind: str, namespace: str, name: str, **_: Any
    ) -> None:
        """An object is about to be made in a cluster; an account of a name of its own has no users."""
        place = (fold_id(cluster_id), namespace, name)
        self._meant(
            run,
            f"{kind} {namespace}/{name}",
            lambda held: (
                place in held.restored()
                or any(place in held.objects(step, ever=True) for step in OBJECT_STEPS)
            ),
        )

    def _meant(self, run: Run, what: str, intended: Callable[[Held], bool], *, thing: str = "") -> None:
        operation, held = self.records.operation(run.operation_id), self.records.held_by(run.connection_id)
        if operation is None or held is None or operation.state.final:
            return  # of a run that was overtaken something may land: its removal waits for that
        if not intended(held):
            self._fail(f"{what} is made by {run.label} and nothing says that it was meant to be")
        user = User(connection_id=operation.connection_id, generation=operation.generation)
        if thing and not any(one.thing == thing and user in one.users for one in self.records.shared()):
            self._fail(f"{what} is made by {run.label} and its maker is not among its users")
