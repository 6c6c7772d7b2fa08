"""Who has access, by what, and whether it is used; campaigns in which owners confirm what lasts, or lose it."""
