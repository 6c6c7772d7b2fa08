"""Approvals: a held operation waits for people; who they are, what they saw, what they decided, and the signed grant.

`domain` and `shown` are pure; `service` is the use cases; `timers` ends what nobody decided.
"""
