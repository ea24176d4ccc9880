"""The app that the Functions host is tested with: one function per rule."""

import asyncio
import json
import os
import pathlib
import sys
import time
import typing

import azure.functions as func

app = func.FunctionApp()


def _seen(message: func.QueueMessage) -> str:
    return json.dumps({"body": message.get_body().decode(), "id": message.id, "count": message.dequeue_count})


@app.queue_trigger(arg_name="msg", queue_name="%IN_QUEUE%", connection="Storage")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
async def copy(msg: func.QueueMessage, out: func.Out[bytes]) -> None:
    out.set(_seen(msg).encode())


@app.queue_trigger(arg_name="msg", queue_name="plain", connection="Storage")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
async def plain(msg: str, out: func.Out[bytes]) -> None:
    out.set(f"{type(msg).__name__}:{msg}".encode())


@app.queue_trigger(arg_name="msg", queue_name="split", connection="Storage")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
def split(msg: func.QueueMessage, out: func.Out[str]) -> None:
    out.set(msg.get_body().decode())


@app.queue_trigger(arg_name="msg", queue_name="many", connection="Storage")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
def many(msg: func.QueueMessage, out: func.Out[typing.List[str]]) -> None:  # noqa: UP006 - list[] is refused
    out.set(["one", "two"])


@app.queue_trigger(arg_name="msg", queue_name="failing", connection="Storage")
async def failing(msg: func.QueueMessage) -> None:
    raise RuntimeError(f"run {msg.dequeue_count}")


@app.queue_trigger(arg_name="msg", queue_name="failing-poison", connection="Storage")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
async def poisoned(msg: func.QueueMessage, out: func.Out[bytes]) -> None:
    out.set(b"poison:" + msg.get_body())


@app.queue_trigger(arg_name="msg", queue_name="slow", connection="Storage")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
async def slow(msg: func.QueueMessage, out: func.Out[bytes]) -> None:
    await asyncio.sleep(float(msg.get_body()))
    out.set(b"slept")


@app.queue_trigger(arg_name="msg", queue_name="hanging", connection="Storage")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
def hanging(msg: func.QueueMessage, out: func.Out[bytes]) -> None:
    if msg.dequeue_count == 1:
        time.sleep(60)
    out.set(b"run %d" % msg.dequeue_count)


@app.route(route="items/{item:int}/{part?}", methods=["GET", "POST"], auth_level=func.AuthLevel.FUNCTION)
async def items(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "header": req.headers.get("X-Thing"),
        "body": req.get_body().decode("latin-1"),
    }
    headers = {"X-Answer": "yes", "Set-Cookie": "a=b; Path=/; HttpOnly; SameSite=Lax; Max-Age=5"}
    return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json", headers=headers)


@app.route(route="described", auth_level=func.AuthLevel.ANONYMOUS)
def described(req: func.HttpRequest) -> str:
    return json.dumps({"status": 418, "body": {"tea": True}, "headers": {"x-pot": "short"}})


@app.route(route="raises", auth_level=func.AuthLevel.ANONYMOUS)
def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("not for the caller")


@app.route(route="dies", auth_level=func.AuthLevel.ANONYMOUS)
def dies(req: func.HttpRequest) -> func.HttpResponse:
    os._exit(3)


@app.route(route="path", auth_level=func.AuthLevel.ANONYMOUS)
def path(req: func.HttpRequest) -> func.HttpResponse:
    facts = {
        "last": sys.path[-1],
        "first": sys.path[0],
        "cwd": str(pathlib.Path.cwd()),
        "setting": os.environ["IN_QUEUE"],
    }
    return func.HttpResponse(json.dumps(facts), mimetype="application/json")


@app.route(route="administrators", auth_level=func.AuthLevel.ADMIN)
def administrators(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="out", queue_name="seen", connection="Storage")
async def resource_event(event: str, out: func.Out[bytes]) -> None:
    found = json.loads(event)
    if found.get("subject") == "bad":
        raise RuntimeError("bad subject")
    out.set(b"event:" + found["id"].encode())


@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%", run_on_startup=True, use_monitor=True)
@app.queue_output(arg_name="out", queue_name="ticks", connection="Storage")
async def tick(timer: func.TimerRequest, out: func.Out[bytes]) -> None:
    out.set(b"past due" if timer.past_due else b"tick")
