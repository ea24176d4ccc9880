"""The worker process: the app inside Microsoft's worker library, driven through a pipe.

Started by path with ``python -P worker.py DESCRIPTOR APP_FOLDER`` so that nothing of the host is
on ``sys.path``; the app's folder is appended last, as on the platform since Python 3.13: an
installed package of the same name as one of the app's modules wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

_REPOSITORY = str(Path(__file__).resolve().parents[2])

if TYPE_CHECKING:
    from sandbox.functions import shim
    from sandbox.functions.channel import Channel
else:
    sys.path.insert(0, _REPOSITORY)
    try:
        from sandbox.functions import shim
        from sandbox.functions.channel import Channel
    finally:
        sys.path.remove(_REPOSITORY)


def _request(kind: str, fields: dict[str, Any]) -> Any:
    namespace = types.SimpleNamespace(**{kind: types.SimpleNamespace(**fields)})
    return types.SimpleNamespace(request=namespace, properties={"host": "127.0.0.1", "protos": shim})


def typed_data(wire: dict[str, Any]) -> shim.TypedData:
    """Turn the pipe's form of a value into the library's."""
    if "http" not in wire:
        return shim.TypedData(**wire)
    http = dict(wire["http"])
    http["body"] = shim.TypedData(**http["body"])
    return shim.TypedData(http=shim.RpcHttp(**http))


def wire_data(value: Any) -> dict[str, Any]:
    """Turn the library's form of a value into the pipe's; an empty dict is no value."""
    kind = None if value is None else value.WhichOneof("data")
    if kind is None:
        return {}
    if kind != "http":
        return {kind: getattr(value, kind)}
    http = value.http
    return {
        "http": {
            "status_code": http.status_code,
            "headers": http.headers,
            "cookies": [_wire_cookie(cookie) for cookie in http.cookies or []],
            "body": wire_data(http.body),
        },
    }


def _wire_cookie(cookie: Any) -> dict[str, Any]:
    wire: dict[str, Any] = {"name": cookie.name, "value": cookie.value, "same_site": int(cookie.same_site)}
    for name in ("domain", "path", "secure", "http_only", "max_age"):
        holder = getattr(cookie, name)
        wire[name] = None if holder is None else holder.value
    wire["expires"] = None if cookie.expires is None else cookie.expires.value.seconds
    return wire


def _wire_function(metadata: Any) -> dict[str, Any]:
    retry = metadata.retry_options
    wire_retry = None
    if retry is not None:
        wire_retry = {
            name: value.total_seconds() if hasattr(value, "total_seconds") else value
            for name, value in vars(retry).items()
        }
    return {
        "name": metadata.name,
        "function_id": metadata.function_id,
        "raw_bindings": list(metadata.raw_bindings),
        "retry": wire_retry,
    }


async def load(app_folder: str) -> dict[str, Any]:
    """Load the app and return the message that says what came of it."""
    import azure_functions_runtime as library

    sys.path.append(app_folder)
    library.start_threadpool_executor()
    answer = await library.worker_init_request(
        _request("worker_init_request", {"capabilities": {}, "function_app_directory": app_folder}),
    )
    # After a failed init the metadata request still answers Success: only this result counts.
    if answer.result.status != shim.StatusResult.Success:
        error = answer.result.exception
        return {"kind": "failed", "error": error.message, "stack": error.stack_trace}
    listed = await library.functions_metadata_request(_request("functions_metadata_request", {}))
    functions = [_wire_function(metadata) for metadata in listed.function_metadata_results or []]
    return {"kind": "loaded", "functions": functions}


async def invoke(channel: Channel, message: dict[str, Any]) -> None:
    """Run one invocation and send its result."""
    import azure_functions_runtime as library

    binding = shim.ParameterBinding(name=message["parameter"], data=typed_data(message["data"]))
    trace = types.SimpleNamespace(trace_parent=message["trace_parent"], trace_state="", attributes={})
    retry = types.SimpleNamespace(
        retry_count=message["retry_count"],
        max_retry_count=message["max_retry_count"],
        exception=None,
    )
    answer = await library.invocation_request(
        _request(
            "invocation_request",
            {
                "invocation_id": message["invocation_id"],
                "function_id": message["function_id"],
                "input_data": [binding],
                "trigger_metadata": {key: typed_data(item) for key, item in message["metadata"].items()},
                "trace_context": trace,
                "retry_context": retry,
            },
        ),
    )
    result: dict[str, Any] = {"kind": "result", "invocation_id": message["invocation_id"]}
    if answer.result.status == shim.StatusResult.Success:
        result |= {
            "ok": True,
            "returned": wire_data(answer.return_value),
            "outputs": {item.name: wire_data(item.data) for item in answer.output_data},
        }
    else:
        error = answer.result.exception
        result |= {"ok": False, "error": error.message, "stack": error.stack_trace}
    with contextlib.suppress(ConnectionError):
        await channel.send(result)


async def run(descriptor: int, app_folder: str) -> None:
    """Load the app, then serve invocations until the host closes the pipe."""
    channel = await Channel.over(socket.socket(fileno=descriptor))
    loaded = await load(app_folder)
    await channel.send(loaded)
    running: set[asyncio.Task[None]] = set()
    while (message := await channel.receive()) is not None:
        task = asyncio.create_task(invoke(channel, message))
        running.add(task)
        task.add_done_callback(running.discard)


def main() -> None:
    """Set the process up as the platform's worker is, and run."""
    # The host decides when the worker ends; a signal to the whole process group is not for it.
    for ignored in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.platform == "linux":
        # A host that was killed must not leave workers behind: PR_SET_PDEATHSIG is 1.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    descriptor, app_folder = int(sys.argv[1]), sys.argv[2]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # The library's own lines are system logs, which the platform does not show to the app's owner.
    logging.getLogger("azure.functions").setLevel(logging.WARNING)
    asyncio.run(run(descriptor, app_folder))
    sys.stdout.flush()
    sys.stderr.flush()
    # A function that hangs in a thread would keep a normal exit waiting for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
