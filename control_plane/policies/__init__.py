"""Policies, approval chains, on-call schedules and masks: validated when written, versioned; agents get them signed."""
