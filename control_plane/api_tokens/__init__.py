"""API tokens of people: short-lived, narrower than the person, made by the person for themselves."""
