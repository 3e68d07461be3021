"""The Lambda functions, all in one package: ``sweep``, ``worker``, ``revoke`` and ``rotation``.

Each reads its event, does its work and returns JSON. A failure is raised with a short, redacted text. Each handler
imports its own modules when it is called, so that a function's cold start does not pay for the others.
"""

from __future__ import annotations

import os
from typing import Any

from rotator.lambda_.runtime import guarded, warm_up

__all__ = ["revoke", "rotation", "sweep", "worker"]


def sweep(event: Any, context: Any) -> dict[str, Any]:
    """Scheduled: sweep here, or send one message per account to the queue. See ``lambda_.handlers.sweep``."""
    from rotator.lambda_ import handlers

    return guarded(handlers.sweep, event, context)


def worker(event: Any, context: Any) -> dict[str, Any]:
    """SQS: sweep the accounts of a batch of messages. See ``lambda_.handlers.worker``."""
    from rotator.lambda_ import handlers

    return guarded(handlers.worker, event, context)


def revoke(event: Any, context: Any) -> dict[str, Any]:
    """By hand: an emergency revocation. See ``lambda_.revoke_handler.revoke``."""
    from rotator.lambda_ import revoke_handler

    return guarded(revoke_handler.revoke, event, context)


def rotation(event: Any, context: Any) -> dict[str, Any]:
    """Secrets Manager: one of the four steps of a rotation. See ``lambda_.handlers.rotate``."""
    from rotator.lambda_ import handlers

    return guarded(handlers.rotate, event, context)


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    warm_up()
