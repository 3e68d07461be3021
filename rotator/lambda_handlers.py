"""The Lambda functions, all in one package: ``sweep``, ``worker``, ``revoke`` and ``rotation``.

Each reads its event, does its work and returns JSON. A failure is raised with a short, redacted text.
"""

from __future__ import annotations

import os

from rotator.lambda_.handlers import rotation, sweep, worker
from rotator.lambda_.revoke_handler import revoke
from rotator.lambda_.runtime import warm_up

__all__ = ["revoke", "rotation", "sweep", "worker"]

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    warm_up()
