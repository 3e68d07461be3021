"""The fleet as one self-contained page of HTML: no script, nothing fetched, untrusted input escaped."""
