"""The sandbox: a simulated Infobip over HTTP, Secrets Manager by moto, faults, and a clock that can be moved."""
