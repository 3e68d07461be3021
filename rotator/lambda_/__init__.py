"""What the Lambda handlers are made of; the handlers themselves are :mod:`rotator.lambda_handlers`."""
