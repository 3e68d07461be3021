"""Rotates Infobip API keys that live in AWS Secrets Manager, unattended and safely."""

__version__ = "0.1.0"
