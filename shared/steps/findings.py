"""What a validation says of a step: its findings, each that failed with what to do next."""

from __future__ import annotations

from shared.errors import PermanentError
from shared.models import ConnectionState, Finding
from shared.steps.base import Step, StepContext


async def checked(step: Step, ctx: StepContext) -> list[Finding]:
    """A step's findings; what keeps it from looking for good is a finding too, so that the rest is said."""
    try:
        findings = await step.check(ctx)
    except PermanentError as error:
        findings = [
            Finding(name=f"{step.name}-looked-at", result="failed", detail=str(error), remedy=error.remedy)
        ]
    return [_with_remedy(finding, ctx) for finding in findings]


def _with_remedy(finding: Finding, ctx: StepContext) -> Finding:
    """A step names a remedy where only that one helps; else the connection's kind decides."""
    if finding.result != "failed" or finding.remedy:
        return finding
    connection = ctx.connection
    if connection.state is ConnectionState.RESTORED:
        remedy = "send the create request again"
    elif connection.linker_id:
        remedy = f"az aks connection update --id {connection.linker_id}"
    else:
        remedy = f"POST /api/connections/{connection.connection_id}/repair"
    return finding.model_copy(update={"remedy": remedy})
