"""The example of the control plane's README: a reviewer decides by REST."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.support.stack import REVIEWER, Stack

README = Path(__file__).parents[2] / "control_plane" / "README.md"
WAIT = 60


def run(command: str, folder: Path, **words: str) -> dict[str, str]:
    """A command of the example with these in place of its own words."""
    for example, word in words.items():
        assert example in command
        command = command.replace(example, word)
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False, timeout=WAIT
    )
    assert done.returncode == 0, done.stderr
    shown: dict[str, str] = json.loads(done.stdout)
    return shown


def test_what_was_shown_is_approved_by_curl(stack: Stack, tmp_path: Path) -> None:
    (example,) = re.findall(r"```bash\n(curl [^`]*`id` and `digest`.*?)```", README.read_text(), re.DOTALL)
    profile = stack.control.sign_in(REVIEWER, stack.reviewer_password)
    example = example.replace("https://assentry.example.com", profile.url)
    show, approve = re.split(r"\n(?=curl)", example)
    (tmp_path / "bearer").write_text(f"Authorization: Bearer {profile.token}")
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 41")
    code = stack.pending("DELETE FROM orders WHERE id = 41")["short_code"]
    shown = run(show, tmp_path, **{"7KQ2MX": code})
    assert run(approve, tmp_path, DIGEST=shown["digest"], ID=shown["id"])["state"] != "pending"
    out, notices = client.communicate(timeout=WAIT)
    assert "DELETE" in out, notices
