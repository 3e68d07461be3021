"""Observing, deciding and acting: the only code that changes anything."""
