"""The console: pages rendered on the server over the same services as the API; a small script keeps them true.

No page decides anything: a form posts the digest of what it showed to the same `ReviewService` as everybody else.
Sessions are the sign-in's cookie, unsafe requests carry its CSRF token, the content-security policy allows nothing but
our own files. Everything works without the script, only not by itself.
"""
