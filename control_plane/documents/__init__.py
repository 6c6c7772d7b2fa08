"""Documents: what admins declare in YAML, planned and applied as a whole."""
