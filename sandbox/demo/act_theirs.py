"""Act 2: what Service Connector leaves behind in the cluster, held while it is used and pruned after."""

from __future__ import annotations

from sandbox.demo.cast import Cast, Object, event_to_end_seconds

NAMESPACE = "billing"
POD = "billing-report"


async def play(cast: Cast) -> None:
    """Tell the act.

    Raises:
        NotAsToldError: Something was not as told.
    """
    stage = cast.stage
    stage.act(2, "theirs", "A Service Connector connection is deleted in Azure; the cluster keeps its part.")
    identity = await stage.during("the owner makes an identity", cast.azure.make_identity("id-theirs"))
    linker_id = await stage.during(
        "Service Connector connects",
        cast.azure.make_linker(
            "theirs",
            client_id=identity["properties"]["clientId"],
            target_id=f"{cast.contract.second_storage_account_id}/blobServices/default",
            namespace=NAMESPACE,
        ),
    )
    stage.told("the owner makes a Service Connector connection for an identity of theirs")
    connection = await stage.until(
        "Mooring hears of it and lists it as observed", lambda: cast.mooring.observed(linker_id)
    )
    stage.told("the write event reached Mooring: it lists the connection as observed")
    objects = await _shown(cast, identity)
    await _delete_linker(cast, identity, linker_id)
    await _prune(cast, connection, objects)
    found = await cast.show_cluster()
    stage.told("both are gone from the cluster", so=not found, seen=found)
    stage.told(
        "the identity is theirs and stays",
        so=await cast.azure.identity_exists(identity["id"]),
        seen="it is gone",
    )


async def _shown(cast: Cast, identity: Object) -> tuple[str, ...]:
    stage = cast.stage
    account = f"sc-account-{identity['properties']['clientId']}"
    secret = "sc-theirs-secret"
    wanted = (f"{NAMESPACE}/{secret}", f"{NAMESPACE}/{account}")
    found = await cast.show_cluster()
    stage.told("Service Connector made a secret and a service account", so=found == wanted, seen=found)
    running = cast.pods.run_on(namespace=NAMESPACE, name=POD, account=account, secret=secret)
    await cast.pods.until_running(stage, NAMESPACE, POD)
    stage.told(f"pod {NAMESPACE}/{POD} runs and uses both", so=not running.done(), seen=running)
    return wanted


async def _delete_linker(cast: Cast, identity: Object, linker_id: str) -> None:
    stage = cast.stage
    await stage.during("the owner deletes the connection in Azure", cast.azure.delete_linker(linker_id))
    stage.told("the owner deletes the connection in Azure")
    roles = await cast.azure.roles_of(identity["properties"]["principalId"])
    credentials = await cast.azure.credentials_of(identity["id"])
    stage.told(
        "Azure's side is clean: no role assignment, no federated credential",
        so=not roles and not credentials,
        seen=[*roles, *credentials],
    )


async def _prune(cast: Cast, connection: Object, objects: tuple[str, ...]) -> None:
    stage = cast.stage
    found = await cast.show_cluster()
    stage.told("the cluster's side stays behind, as Microsoft warns", so=found == objects, seen=found)
    shown: set[str] = set()
    held = await cast.until_held(connection["id"], "in-use", "the event arrives and the prune is held", shown)
    stage.told(
        f"the event arrived; Mooring holds the prune: {held['detail']}",
        so=POD in held["detail"],
        seen=held["detail"],
    )
    deleted = await cast.kubectl.delete_pod(NAMESPACE, POD)
    stage.command(deleted.command, deleted.lines)
    operation = await cast.follow(held["id"], "the prune goes on once the pod is gone", shown=shown)
    after = await cast.mooring.connection(connection["id"])
    stage.told(
        "the pod is gone, the connection is pruned", so=after["state"] == "pruned", seen=after["state"]
    )
    seconds = event_to_end_seconds(operation)
    stage.summary.add("pruned after theirs", f"{seconds:.1f} s from event to pruned, the pod's time included")
