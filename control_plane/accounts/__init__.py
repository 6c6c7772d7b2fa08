"""Accounts that agents make at targets for single sessions: who had which, and those that would not go away."""
