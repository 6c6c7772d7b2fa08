"""Takes what `compile.py` made into the wheel, which is then for this Python and this kind of machine only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        compiled = [*root.glob("*__mypyc.*.so"), *root.glob("data_plane/**/*.so")]
        if compiled and version == "standard":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"].update({str(path): str(path.relative_to(root)) for path in compiled})
