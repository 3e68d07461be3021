"""Observe, plan and apply. Only this package changes secrets and keys."""
