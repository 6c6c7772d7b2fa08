"""Looks at an account of a PostgreSQL target and says what it can do beyond what policy could ever allow.

`rights` is what the server's catalogue says, `reading` reads it, `needs` is what policy makes of it: which role may do
what. `findings` compares the two; `script` writes the SQL that makes the one like the other, and runs nothing: people
read it and apply it. `examining` is the errand that joins them. All but `reading` and `examining` are pure.

It does not look into what functions and triggers do, and not at what other roles of the server may do.
"""
