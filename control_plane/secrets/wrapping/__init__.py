"""Wrapping keys: one module for each place that keeps them, all of them `ports.KeyWrapper`.

Text that an operator writes (an entry of ASSENTRY_WRAPPING_KEYS) becomes a wrapper in `config`. What a service does not
promise, its module says in its docstring.
"""

from __future__ import annotations

from control_plane.secrets.wrapping.config import open_wrapper

__all__ = ["open_wrapper"]
