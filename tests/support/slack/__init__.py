"""A double of Slack: `double` serves it, `workspace` and `methods` are what it knows and does, `strict` its limits."""
