"""Sealing as an installation has it that configured nothing: with a key in its state directory."""

from __future__ import annotations

from pathlib import Path

from control_plane.secrets.feature import Sealing
from control_plane.secrets.sealed_files import SealedFiles


def files_of(state_dir: Path) -> SealedFiles:
    state_dir.mkdir(parents=True, exist_ok=True)
    return Sealing("", state_dir, "assentry").files
