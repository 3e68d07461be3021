"""Keeps secret values out of all output of the process."""
