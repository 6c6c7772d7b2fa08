"""Target credentials: the port, and the source that is the agent's own configuration."""
