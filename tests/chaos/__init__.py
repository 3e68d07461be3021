"""The eleven rules, checked at every single call: under faults, kills, forged labels, in two regions."""
