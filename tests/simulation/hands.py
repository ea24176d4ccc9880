"""Other people's things where ours are, and wishes that people write on ours."""

from __future__ import annotations

import random
from collections.abc import Callable

from shared.naming import AUDIENCE, fold_id, identity_name, service_account_name
from shared.ports import Credential, Identity
from shared.steps.base import ANNOTATION_KEEP, LABEL_MANAGED_BY
from tests.fakes.azure_world import StoredObject
from tests.simulation.workload import HORIZON_SECONDS, Workload
from tests.simulation.world import IDENTITY_GROUP, PROVIDED, SimulatedWorld


class Hands:
    """Adds to the script of a run; what it draws changes nothing else of it."""

    def __init__(self, workload: Workload, dice: random.Random) -> None:
        self._workload, self._random = workload, dice

    @property
    def _world(self) -> SimulatedWorld:
        return self._workload.world

    def write(self) -> None:
        """Put what people do on the calendar."""
        dice = self._random
        if dice.random() < 0.3:
            self._taken_name()
        if dice.random() < 0.7:
            self._twin()
        for act in (self._trusts, self._keep, self._unmark, self._copy):
            for _ in range(dice.randint(1, 4)):
                self._workload.at(dice.uniform(60.0, HORIZON_SECONDS), act)

    def _taken_name(self) -> None:
        """An identity of the name that a workload's own would have: somebody else's, without our tag."""
        wanted = self._random.choice(self._workload.wanted)
        name = identity_name(wanted.cluster_id, wanted.namespace, wanted.workload)
        resource_id = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        world = self._world
        world.identities[fold_id(resource_id)] = Identity(
            resource_id=resource_id,
            client_id=world.guid(),
            principal_id=world.guid(),
            location="westeurope",
            tags={"owner": "team"},
        )
        world.credentials[fold_id(resource_id)] = {}
        world.foreign.add(fold_id(resource_id))

    def _twin(self) -> None:
        """The very credential that we would write, under a name of the team's."""
        given = [one for one in self._workload.wanted if one.identity_id == PROVIDED[0]]
        if not given:
            return
        wanted, world = self._random.choice(given), self._world
        client_id = world.identities[fold_id(PROVIDED[0])].client_id
        subject = f"system:serviceaccount:{wanted.namespace}:{service_account_name(client_id)}"
        issuer = world.clusters[fold_id(wanted.cluster_id)].described.issuer
        world.credentials[fold_id(PROVIDED[0])]["by-hand"] = Credential(
            name="by-hand", issuer=issuer, subject=subject, audiences=(AUDIENCE,)
        )

    def _trusts(self) -> None:
        """Somebody lets another workload of theirs sign in as an identity of ours."""
        ours = [
            key
            for key, one in self._world.identities.items()
            if one.resource_id not in PROVIDED and key not in self._world.foreign
        ]
        if ours:
            key, number = self._random.choice(ours), self._workload.number()
            self._world.credentials[key][f"hand{number}"] = Credential(
                name=f"hand{number}",
                issuer="https://token.actions.githubusercontent.com",
                subject=f"repo:team/hand{number}:ref:refs/heads/main",
                audiences=(AUDIENCE,),
            )
            self._world.trusted[key, f"hand{number}"] = self._world.loop.time()

    def _keep(self) -> None:
        self._change(lambda there: there.annotations.__setitem__(ANNOTATION_KEEP, "true"), "keeps")

    def _unmark(self) -> None:
        self._change(lambda there: there.labels.pop(LABEL_MANAGED_BY, None), "takes the mark off")

    def _copy(self) -> None:
        """Deleted and made again from a file: labels as before, annotations and uid not."""

        def act(there: StoredObject) -> None:
            there.uid, there.annotations = f"copy{self._workload.number()}", {}

        self._change(act, "makes again")

    def _change(self, act: Callable[[StoredObject], object], what: str) -> None:
        places = [
            (cluster_id, key)
            for cluster_id, cluster in self._world.clusters.items()
            for key, one in cluster.objects.items()
            if LABEL_MANAGED_BY in one.labels
        ]
        if not places:
            return
        cluster_id, (kind, namespace, name) = self._random.choice(places)
        there = self._world.clusters[cluster_id].objects[kind, namespace, name]
        act(there)
        there.resource_version = str(self._world.number())
        self._world.touch(f"{cluster_id}|{namespace}|{kind}|{name}")
        self._world.handled[cluster_id, kind, namespace, name] = self._world.loop.time()
        self._workload.platform.wire.say("somebody", f"{what} {kind} {namespace}/{name}")
