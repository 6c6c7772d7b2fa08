"""Documents: what admins declare, planned and applied as a whole.

A layer over `kit` and under the features whose nouns can be declared (policies, targets, identities): it
knows them by the port `DocumentKind` only, so they may import it and it imports none of them.
"""
