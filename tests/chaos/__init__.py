"""The ten rules, held against a kill or a fault at every single call."""
