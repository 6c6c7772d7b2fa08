"""Commands that ask, where nobody can answer: they name the options that answer beforehand.

What comes through a pipe is an answer like any other; this is about an input that has ended.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from control_plane.cli.errors import CommandError


def asking(app: typer.Typer) -> None:
    """Makes every command of it, and of what is below it, one that says so."""
    for command in app.registered_commands:
        command.cls = _Asking
    for group in app.registered_groups:
        if group.typer_instance is not None:
            asking(group.typer_instance)


class _Asking(TyperCommand):
    def make_context(self, *given: Any, **more: Any) -> Any:
        with self._answered():
            return super().make_context(*given, **more)

    def invoke(self, ctx: Any) -> Any:
        with self._answered():
            return super().invoke(ctx)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Raises CommandError in place of Abort, which says nothing, where no terminal is."""
        try:
            yield
        except typer.Abort as error:
            if sys.stdin.isatty():
                raise
            typer.echo()  # the question stands on its own line
            raise CommandError(f"nobody can be asked here, without a terminal: {self._instead()}") from error

    def _instead(self) -> str:
        options = [one for one in self.params if isinstance(one, TyperOption) and (one.prompt or one.name == "yes")]
        if not options:
            return "--help shows what can be given beforehand"
        named = " and ".join("/".join(one.opts) for one in options)
        return f"{named} {'answers' if len(options) == 1 else 'answer'} beforehand"
