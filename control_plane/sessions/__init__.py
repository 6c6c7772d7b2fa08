"""Sessions: one authenticated client connection to one target, as its agent reports it, and its replay."""
