"""What the Lambda handlers are made of; the handlers themselves are :mod:`rotator.lambda_handlers`."""

from __future__ import annotations

import gc
import logging
import os
import sys

from rotator.serverless.lazily import put_off

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # A fifth of a cold start goes into looking for garbage among modules and clients that are there to stay.
    gc.disable()  # until `warm_up` has made the last of them
if sys.version_info >= (3, 12):
    logging.logAsyncioTasks = False  # else every log record asks asyncio for its task; here nothing runs in one
put_off("asyncio")  # before a module of this package imports structlog
