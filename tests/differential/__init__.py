"""PostgreSQL's own regression tests, run direct and through an allow-all policy: the outputs must be the same."""
