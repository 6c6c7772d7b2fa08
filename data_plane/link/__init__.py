"""The agent's end of the link to the control plane: enrolment, the stream, the durable journal, the lease.

Nothing here decides whether an operation may run. The gate verifies grants itself; the link only carries them.
"""
