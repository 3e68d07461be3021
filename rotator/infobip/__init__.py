"""Infobip's key-management API: client, authentication, wire formats."""
