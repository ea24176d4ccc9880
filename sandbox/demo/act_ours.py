"""Act 1: a connection that Mooring makes, uses, shares, validates and removes completely."""

from __future__ import annotations

import asyncio
import dataclasses

from sandbox.demo import examples
from sandbox.demo.cast import Cast, Object, objects_of, seconds_between
from sandbox.demo.stage import NotAsToldError
from sandbox.pod_spec import PodRefusedError

SUCCEEDED = "Connect to Azure Storage succeeded. Find {count} containers"
FAILED = "Connect to Azure Storage failed: "
EARLY_POD = "blob-program-early"
DETAIL_WIDTH = 60


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The two connections of the act."""

    blob: Object
    vault: Object
    snippet: str
    """The manifest of the first."""


async def play(cast: Cast) -> None:
    """Tell the act.

    Raises:
        NotAsToldError: Something was not as told.
    """
    cast.stage.act(
        1, "ours", "A message on a queue connects a workload to a storage account; no key anywhere."
    )
    blob = await _create(cast)
    snippet = await _use(cast, blob)
    await _ask_for_second(cast, blob)
    await _validate(cast, blob)
    vault = await _share(cast, blob)
    await _delete(cast, Made(blob=blob, vault=vault, snippet=snippet))


async def _create(cast: Cast) -> Object:
    stage, contract = cast.stage, cast.contract
    request = examples.create_request(
        "demo-create-1",
        cluster_id=contract.cluster_id,
        target_id=contract.storage_account_id,
    )
    await cast.mooring.send(request)
    stage.told("examples/create-request.json, filled in, is on the queue connection-requests")
    operation = await cast.follow_request("demo-create-1", "the connection is made")
    seconds = seconds_between(operation["openedAt"], operation["endedAt"])
    connection = await cast.mooring.connection(operation["connectionId"])
    stage.told(
        f"connection {connection['name']} is configured, {seconds:.1f} s after the request was taken in",
        so=connection["state"] == "configured",
        seen=connection["state"],
    )
    stage.summary.add(
        "made from a message", f"{len(operation['steps'])} steps, no secret value, {seconds:.1f} s"
    )
    found = await cast.show_cluster()
    wanted = objects_of(connection)
    stage.told(
        "secret and service account are there, under Service Connector's names",
        so=wanted == found,
        seen=found,
    )
    return connection


async def _use(cast: Cast, connection: Object) -> str:
    stage = cast.stage
    snippet = await cast.mooring.manifest(connection["id"])
    stage.say("examples/program.py runs in the pod of examples/pod.yaml, filled from the API's manifest:")
    stage.say("DefaultAzureCredential() and the settings of the secret, nothing else.")
    await _program_counts(cast, snippet, 0)
    await stage.during("a container is made", cast.azure.make_container("orders"))
    stage.told("the owner makes a container")
    await _program_counts(cast, snippet, 1)
    return snippet


async def _program_counts(cast: Cast, snippet: str, count: int) -> None:
    what = f"the program counts {count} containers"
    result = await cast.stage.during(what, cast.pods.run(snippet, name="blob-program"))
    lines = result.output.splitlines()
    cast.stage.output(lines)
    cast.stage.told(
        what,
        so=result.exit_code == 0 and lines[-1:] == [SUCCEEDED.format(count=count)],
        seen=f"exit code {result.exit_code}",
    )


async def _validate(cast: Cast, connection: Object) -> None:
    stage = cast.stage
    operation_id = await cast.mooring.validate(connection["id"])
    stage.told("meanwhile the API is asked to validate the first connection")
    operation = await cast.follow(operation_id, "the connection is validated")
    findings = operation["findings"]
    width = max((len(finding["name"]) for finding in findings), default=0)
    stage.output(
        [f"{one['result']:<8}{one['name']:<{width}}  {_short(one['detail'])}".rstrip() for one in findings]
    )
    wrong = [one["name"] for one in findings if one["result"] == "failed"]
    stage.told(
        f"validation looked at {len(findings)} things and found nothing wrong",
        so=bool(findings) and not wrong,
        seen=wrong,
    )


async def _ask_for_second(cast: Cast, blob: Object) -> None:
    contract = cast.contract
    request = examples.create_request(
        "demo-create-2",
        cluster_id=contract.cluster_id,
        target_id=contract.vault_id,
        target_type="keyvault",
        name="vault",
        workload=blob["workload"],
    )
    await cast.mooring.send(request)
    cast.stage.told(
        f"a create request for a key vault and the same workload, {blob['workload']}, is on the queue"
    )


async def _share(cast: Cast, blob: Object) -> Object:
    stage = cast.stage
    operation = await cast.follow_request("demo-create-2", "the second connection is made")
    vault = await cast.mooring.connection(operation["connectionId"])
    names = [(one["identity"]["clientId"], one["kubernetes"]["serviceAccount"]) for one in (blob, vault)]
    stage.told(
        "both share one identity and one service account, each with its own secret",
        so=names[0] == names[1] and blob["kubernetes"]["secret"] != vault["kubernetes"]["secret"],
        seen=names,
    )
    found = await cast.azure.mooring_identities()
    stage.told("Azure has one identity made by Mooring", so=len(found) == 1, seen=found)
    return vault


async def _delete(cast: Cast, made: Made) -> None:
    stage = cast.stage
    namespace = made.blob["namespace"]
    signal, early = cast.pods.run_later(made.snippet, name=EARLY_POD)
    await cast.pods.until_running(stage, namespace, EARLY_POD)
    stage.told(f"pod {namespace}/{EARLY_POD} runs; its program will begin after the deletion")
    seconds = await _deleted(cast, made.blob, "demo-delete-1")
    signal.touch()
    result = await stage.during("the program in the pod that was there before begins", early)
    lines = result.output.splitlines()
    stage.output(lines)
    last = (lines or [""])[-1]
    stage.told(
        f"the program is refused, {last.removeprefix(FAILED)}, though the workload keeps its identity",
        so=result.exit_code == 1 and last.startswith(FAILED),
        seen=f"exit code {result.exit_code}",
    )
    seconds += await _deleted(cast, made.vault, "demo-delete-2")
    await _nothing_left(cast, made)
    await _refused(cast, made)
    stage.summary.add("deleted on request", f"two connections in {seconds:.1f} s, nothing left behind")


async def _deleted(cast: Cast, connection: Object, request_id: str) -> float:
    name = connection["name"]
    request = examples.delete_request(request_id, cluster_id=cast.contract.cluster_id, name=name)
    await cast.mooring.send(request)
    cast.stage.told(f"a delete request for {name} is on the queue")
    operation = await cast.follow_request(request_id, f"connection {name} is deleted")
    after = await cast.mooring.connection(connection["id"])
    cast.stage.told(f"connection {name} is deleted", so=after["state"] == "deleted", seen=after["state"])
    return seconds_between(operation["openedAt"], operation["endedAt"])


async def _nothing_left(cast: Cast, made: Made) -> None:
    stage = cast.stage
    found = await cast.show_cluster()
    stage.told("nothing of a connection is left in the cluster", so=not found, seen=found)
    identities, roles = await asyncio.gather(
        cast.azure.mooring_identities(), cast.azure.roles_of(made.blob["identity"]["principalId"])
    )
    stage.told("Azure lists no identity made by Mooring", so=not identities, seen=identities)
    stage.told("and none of its role assignments", so=not roles, seen=roles)


async def _refused(cast: Cast, made: Made) -> None:
    what = "the cluster refuses a new pod of the program"
    try:
        result = await cast.stage.during(what, cast.pods.run(made.snippet, name="blob-program"))
    except PodRefusedError as error:
        cast.stage.output([str(error)])
        cast.stage.told(what)
        return
    raise NotAsToldError(what, f"it ran: {result.output}")


def _short(detail: str) -> str:
    """A finding's detail in one line: of an ARM id its name, of anything long the beginning."""
    named = detail.rpartition("/")[2] if detail.startswith("/subscriptions/") else detail
    return named if len(named) <= DETAIL_WIDTH else f"{named[: DETAIL_WIDTH - 3]}..."
