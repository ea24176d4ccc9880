"""Reads the policy from the app's own folder, afresh each time it is asked for."""

from __future__ import annotations

from pathlib import Path

from shared.errors import PermanentError
from shared.policy import Policy

APP_FOLDER = Path(__file__).parent.parent


def load_policy(policy_file: str) -> Policy:
    """The policy as it is now; read for every request, so that a new one needs no restart.

    Raises:
        PermanentError: ``policy-unreadable``.
    """
    path = APP_FOLDER / policy_file
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(
            "policy-unreadable",
            f"{policy_file}: {type(error).__name__}",
            remedy="copy policy.sample.toml to policy.toml, edit it and deploy again",
        ) from error
    return Policy.parse(text)
