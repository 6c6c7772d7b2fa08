"""What a name may look like: lower case ASCII, so that two names never look alike."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

PATTERN = r"^[a-z0-9][a-z0-9._@+-]{0,62}$"
DESCRIPTION = "lower-case letters, digits and . _ @ + - ; at most 63, beginning with a letter or digit"
_NAME = re.compile(PATTERN[:-1] + r"\Z", re.ASCII)

# For schemas and path parameters.
Name = Annotated[str, StringConstraints(pattern=PATTERN, max_length=63)]


def is_name(text: str) -> bool:
    return _NAME.match(text) is not None
