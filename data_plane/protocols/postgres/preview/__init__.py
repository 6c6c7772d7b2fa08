"""What a held statement would do, looked up for the people who decide, before they are asked.

    question    what is asked of a held unit, as the core gives it
    facts       what the text itself says
    deriving    the rows that a statement touches, as the SELECT that finds them
    judging     why nothing may be sent to the target for a statement
    conversation, probing, dry_running      a connection of its own to the target, and what is asked on it
    looking     all of it together, within its limits

It never uses the session's connection or account, but a preview role that the agent's configuration names; without one
there is no preview but the facts. Everything but a dry run happens in a READ ONLY transaction that is rolled back. What
is sent has been judged by the same catalogue as the statement itself: nothing that calls code that is not known to be
harmless, reads views or foreign tables, or is under row security, which would answer the preview role otherwise than
the session. What the preview role sees is what is committed: nothing of the client's open transaction.
"""
