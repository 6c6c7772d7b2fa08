"""Policies, approval chains and masks: validated when written, versioned, published to agents in snapshots."""
