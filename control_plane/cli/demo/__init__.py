"""`assentry demo`: both planes and a sample target on this machine, and a story to try or to run unattended."""
