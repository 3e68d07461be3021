"""Keeping secret values out of whatever leaves the process."""
