"""Access windows: a target for a limited time, asked for beforehand, and lent when people have agreed."""
