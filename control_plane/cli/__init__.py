"""The `assentry` command: a client of the REST API, plus the commands that start the two planes and the demo.

Plain `pip install assentry` is enough for it. It talks to a control plane only over HTTP; nothing in here opens the
database. Human tables on a terminal, `--output json` for scripts. Exit codes: 0 done, 1 refused or failed, 2 wrong use,
3 nothing wrong but something is different (`plan --detailed-exitcode`).
"""
