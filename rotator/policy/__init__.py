"""What is decided, and why: pure functions over what was observed. No I/O, no clock, no logging."""
