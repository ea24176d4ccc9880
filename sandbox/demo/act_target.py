"""Act 3: a living connection's storage account is deleted; after a grace period, what served it goes."""

from __future__ import annotations

from sandbox.demo import examples
from sandbox.demo.cast import Cast, Object, event_to_end_seconds, objects_of, seconds_between

NAMESPACE = "orders"


async def play(cast: Cast, *, confirm_seconds: int, grace_seconds: int) -> None:
    """Tell the act.

    Args:
        cast: Everybody.
        confirm_seconds: Pause between two looks, as set for this sandbox.
        grace_seconds: Grace period, as set for this sandbox.

    Raises:
        NotAsToldError: Something was not as told.
    """
    stage = cast.stage
    stage.act(3, "the target", "The storage account of a living connection is deleted in Azure.")
    connection = await _create(cast)
    await stage.during(
        "the owner deletes the storage account",
        cast.azure.delete_storage_account(cast.contract.storage_account_id),
    )
    stage.told("the owner deletes the storage account")
    shown: set[str] = set()
    what = "the event arrives and the prune is held"
    held = await cast.until_held(connection["id"], "grace", what, shown, briefly=True)
    until = held["detail"] or "and it is over, as the record below shows"
    stage.told(f"the event arrived; the account could be recovered, so Mooring holds: grace {until}")
    stage.say(
        f"The grace period is {grace_seconds} s here, once Azure has said it twice, and 14 days by default."
    )
    operation = await cast.follow(held["id"], "the grace period ends and the prune goes on", shown=shown)
    seconds = event_to_end_seconds(operation)
    after = await cast.mooring.connection(connection["id"])
    stage.told(f"pruned {seconds:.1f} s after the event", so=after["state"] == "pruned", seen=after["state"])
    _proof(cast, operation, confirm_seconds + grace_seconds)
    await _nothing_left(cast, connection)
    stage.summary.add(
        "pruned after its target",
        f"{seconds:.1f} s from event to pruned, the grace of {grace_seconds} s included",
    )


async def _create(cast: Cast) -> Object:
    request = examples.create_request(
        "demo-create-3",
        cluster_id=cast.contract.cluster_id,
        target_id=cast.contract.storage_account_id,
        namespace=NAMESPACE,
        name="archive",
    )
    await cast.mooring.send(request)
    operation = await cast.follow_request("demo-create-3", "a connection is made")
    connection = await cast.mooring.connection(operation["connectionId"])
    found = await cast.show_cluster()
    wanted = objects_of(connection)
    cast.stage.told(
        f"connection {connection['name']} in namespace {NAMESPACE} lives",
        so=connection["state"] == "configured" and found == wanted,
        seen=(connection["state"], *found),
    )
    return connection


def _proof(cast: Cast, operation: Object, least_seconds: int) -> None:
    outputs = next(step["outputs"] for step in operation["steps"] if step["name"] == "confirm_gone")
    witness = str(outputs.get("witness", "")).rpartition("/")[2]
    apart_seconds = seconds_between(outputs.get("firstGoneAt"), outputs.get("confirmedAt"))
    cast.stage.told(
        f"Azure said not found again after {apart_seconds:.0f} s, and still answered for {witness}",
        so=outputs.get("fact") == "gone" and apart_seconds >= least_seconds and bool(witness),
        seen=outputs,
    )


async def _nothing_left(cast: Cast, connection: Object) -> None:
    stage = cast.stage
    found = await cast.show_cluster()
    stage.told("secret and service account are gone", so=not found, seen=found)
    identity = connection["identity"]
    identities = await cast.azure.mooring_identities()
    credentials = await cast.azure.credentials_of(identity["resourceId"])
    roles = await cast.azure.roles_of(identity["principalId"])
    stage.told(
        "identity, federated credential and role assignment are gone",
        so=not identities and not credentials and not roles,
        seen=[*identities, *credentials, *roles],
    )
