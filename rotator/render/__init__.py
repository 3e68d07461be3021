"""Words and times for people."""
