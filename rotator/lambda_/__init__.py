"""The implementation of the Lambda handlers. Their entry points are in :mod:`rotator.lambda_handlers`."""
