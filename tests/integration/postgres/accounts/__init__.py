"""Session roles at real servers: the oldest and the newest that are at hand."""
