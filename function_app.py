"""The function app: one wiring, and the blueprints that use it."""

import azure.functions as func

from handlers import (
    connection_requests,
    connection_steps,
    dead_letters,
    http_api,
    http_catalogue,
    http_operations,
    http_orphans,
    http_prunes,
    http_recoveries,
    http_remains,
    http_sweeps,
    poison,
    resource_events,
    sweeps,
    timers,
)
from shared.wiring import Wiring

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
wiring = Wiring()

for part in (
    connection_requests,
    connection_steps,
    resource_events,
    poison,
    http_api,
    http_catalogue,
    http_operations,
    dead_letters,
    http_orphans,
    http_prunes,
    sweeps,
    http_sweeps,
    http_recoveries,
    http_remains,
    timers,
):
    app.register_functions(part.blueprint(wiring))
