"""PostgreSQL: the wire protocol 3.0 and 3.2, as unmodified clients and servers speak it.

**A session.** `startup` (SSLRequest, GSSENCRequest, direct TLS, StartupMessage, CancelRequest) and
`client_authentication` find out what the client wants and take its credential: a short-lived token sent as the
password, inside TLS or on this machine only, or a client certificate. The admission decides. `target_startup` opens the
target with the agent's own credential (SCRAM-SHA-256(-PLUS), MD5, password; TLS up to verify-full). Then `core`, which
owns no socket, follows both wires; `runtime.driver` moves the bytes. `session` joins these parts.

**What is gated.** One Query, or one extended batch up to Sync or Flush, before any byte of it that can execute or lock
reaches the target: Bind already runs code. Statements are read by `statements` with PostgreSQL's own grammar and named
by what they do; `catalog` knows what the names mean; results, COPY and error texts go through `masking`.

**What is refused.** Everything that is not understood. FunctionCall (but for what policy allows), replication, settings
in the StartupMessage that are not on the list (`startup_parameters`), another client_encoding than UTF8 and
standard_conforming_strings off, messages out of place, unknown message types, lengths beyond their caps. A refused
statement is replaced by one that fails, so that the server itself keeps the state of the transaction.

**Held statements.** Where policy asks for it, `preview` looks up what one would do, with an account of its own, before
people are asked. A grant may carry a row guard: the statement's answer is then kept back until its rows are counted and
what it did is committed, or undone (`core.guarding`). Where sessions have accounts of their own (`accounts`), the
account is widened for what people approved, and narrow again before anything else is sent (`core.widening`). A portal
that was bound with the wider account and is executed later, by itself, is executed with the narrow one.

**Masked sessions.** What a mask protects is masked where it comes out: rows, COPY, errors, notices, reported settings.
A statement that would store it elsewhere (`UPDATE t SET note = ssn`, CREATE TABLE AS, a view, ALTER … USING, pg_notify)
is refused, although policy allows it, unless a rule holds it and people approve (`laundering`). So is one that carries
a masked value back. A name that was ever that of a temporary relation means both that one and what it hides, for rules
and for masks. Notifications come without their payload, since anybody may have put masked values into it; in a session
whose masks come only with the operations that rules allow, from the first such operation on.

**Cancelling.** Clients get keys of our own with the backend's real process id; a request ends a hold, or goes on to the
target, and nothing else is sent until it has been delivered (`cancellation`). A `statement_timeout` that the client
sets (SET, set_config, at the start) bounds a hold as it bounds a statement; after an approval the target counts anew.
One that only the target has set for the agent's account does not bound holds.

**Windows and reasons.** One statement that reads or writes data has a shape (`core.asking`, `statements.form`), which
those share that differ only in numbers and strings that columns are compared with or given, in the same state of the
session. A reviewer may approve a window of one shape. `SET assentry.reason = '…'`, or `-c assentry.reason=…` at the
start, is shown to reviewers as what the client says; the target gets it as a parameter that means nothing, and it is
in no digest.

**What this does not protect against.** What functions, triggers, views and rules do behind an approved statement; what
predicates, timing and errors tell about masked columns: only the rights of the agent's account can. A token that is
stolen is good until it expires. An unencrypted connection on this machine can be read by whoever may trace the client.
A target whose definition says `require` is encrypted but not known to be the right one. In a window, that other values
touch other rows and more of them, and that a change of the schema meanwhile gives its names another meaning.
"""
