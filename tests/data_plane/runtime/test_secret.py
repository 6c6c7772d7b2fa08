"""Secrets never show, and failed tasks are heard."""

from __future__ import annotations

import pickle

import pytest
import structlog

from data_plane.runtime.secret import Secret
from data_plane.runtime.tasks import spawn


def test_a_secret_prints_as_stars() -> None:
    secret = Secret("hunter2")
    assert {str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{secret!s}"} == {"***"}
    assert "hunter2" not in repr({"a": [secret]})
    assert secret.reveal() == "hunter2"


def test_a_secret_is_not_serialized_or_hashed() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))
    with pytest.raises(TypeError):
        hash(Secret("hunter2"))


def test_secrets_compare() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")


async def test_a_task_that_fails_is_logged_with_its_name() -> None:
    async def fail() -> None:
        raise ValueError("why")

    with structlog.testing.capture_logs() as logs:
        task = spawn(fail(), "the one that fails")
        with pytest.raises(ValueError):
            await task
    assert [(entry["event"], entry["task"]) for entry in logs] == [("task failed", "the one that fails")]
