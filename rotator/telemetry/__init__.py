"""Audit lines, logs, metrics and events to consumers."""
