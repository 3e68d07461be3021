"""Evidence for an auditor."""
