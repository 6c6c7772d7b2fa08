"""People who sign in at an identity provider: what it says, checked, becomes a sign-in of one of our identities."""
