"""SCIM 2.0 (RFC 7643, RFC 7644): identity providers push people and groups here, and say when somebody is gone.

A SCIM client is one provider that pushes. It sees and changes the people and groups that it pushed itself, and of a
person who is also known otherwise only what it has said. Schemas, filters, paths and PATCH are scim2-models'; which
identity a resource is, what `active` means for it and who may be taken over is ours.
"""
