"""Workloads that prove themselves: by their platform's own identity token (RFC 8693), a key pair (RFC 7523) or a secret
that ends. No static secret where it can be avoided, and nothing that outlives a machine's owner or its end date."""
