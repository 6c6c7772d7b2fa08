"""A PostgreSQL role for each session: made when it opens, closed once it has signed in, gone when it is over.

`provider` implements `credentials.ports.AccountProvider`. The agent's own account needs CREATEROLE and, from PostgreSQL
16 on, ADMIN OPTION on each group role that a target's `session_roles` name; until 15, INHERIT (as roles have by
default). No more, and never superuser.

**Life.** One transaction makes the role: LOGIN with a SCRAM verifier made here, VALID UNTIL in seconds, CONNECTION
LIMIT 1, a member of the group roles of what policy may allow. It signs in once; from then on it is NOLOGIN without a
password (`signed_in`), which a role cannot undo for itself. So from the client's first byte on, the password is of no
use to anybody: ALTER ROLE of itself, which PostgreSQL allows for password and settings, opens nothing.

**End.** NOLOGIN; backends end and are waited for, by the role's OID; prepared transactions are rolled back; then in
each database where it owns or holds anything: REASSIGN OWNED, DROP OWNED; DROP ROLE. What cannot be taken away stays
behind disabled and without memberships, and people are told.

**Ownership.** A session whose policy may allow ddl runs as the owner (`ALTER ROLE ... SET role`): the owner must be
able to do all that such a session may. What ddl makes that people approved in other sessions is handed to the owner
when the approval ends, at the latest with the session. Whether a role may hand over anything stands in its comment,
with a proof of this agent: what a session without ddl made behind the parser's back (a view, SECURITY DEFINER)
must not get the owner's rights. It is neither handed over nor dropped: the role stays behind, and people decide.

**Widening** is GRANT and REVOKE of group roles. A backend keeps memberships in a cache that it looks through at the
start of a transaction, when it takes a lock and when it analyses a statement that names a relation; within a
transaction a plan that is kept (a prepared statement, a function's) may run with the memberships of before.
So whoever widens or narrows makes the session's backend look (`core.widening`).

**Cost.** Five milliseconds or so of the server's CPU to make a role, nearly all of it because CREATE ROLE tries whether
the verifier is one of the empty password; half a millisecond each to close, widen and narrow it; two to remove it.

Not protected here: what functions of the target do with their owner's rights; what PUBLIC may do; until PostgreSQL 15 a
member may SET ROLE to its groups (from 16 on it may not: SET FALSE).
"""
