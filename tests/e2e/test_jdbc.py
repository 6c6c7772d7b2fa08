"""PostgreSQL's JDBC driver, unmodified, through the agent: clients/Jdbc.java plays the parts and prints what it saw."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.stack import HOST, Stack, eventually

PROGRAM = Path(__file__).parent / "clients" / "Jdbc.java"
DRIVER = Path("/usr/share/java/postgresql.jar")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert shutil.which("javac"), "no Java compiler is installed: run `make system`"
    assert DRIVER.exists(), f"{DRIVER} is not installed: run `make system`"
    folder = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-cp", DRIVER, "-d", folder, PROGRAM], check=True)
    return folder


class Player:
    """Starts the program for a part at a target."""

    def __init__(self, classes: Path, stack: Stack) -> None:
        self.classes, self.stack = classes, stack

    def start(self, target: str, part: str) -> subprocess.Popen[str]:
        url = f"jdbc:postgresql://{HOST}:{self.stack.port(target)}/{target}?sslmode=disable"
        return subprocess.Popen(
            ["java", "-cp", f"{self.classes}:{DRIVER}", "Jdbc", url, part], env=self.stack.environment(target),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def play(self, target: str, part: str) -> list[str]:
        return finished(self.start(target, part))


def finished(process: subprocess.Popen[str], said: str = "") -> list[str]:
    """The lines that the program printed, after it was told this."""
    output, errors = process.communicate(said, timeout=60)
    assert process.returncode == 0, errors
    return output.splitlines()


@pytest.fixture
def jdbc(classes: Path, stack: Stack) -> Player:
    return Player(classes, stack)


def test_reads_are_masked_in_text_and_in_the_binary_of_named_statements(jdbc: Player) -> None:
    lines = jdbc.play("shop", "reads")
    assert [line.split()[0] for line in lines] == ["unnamed"] * 4 + ["named"] * 4
    assert {line.split(" ", 1)[1] for line in lines} == {
        "1 Ada ‹masked:…mple› ‹masked›",
        "2 Grace ‹masked:…mple› ‹masked›",
    }


def test_cursors_that_take_turns_give_every_row(jdbc: Player) -> None:
    assert jdbc.play("open", "cursors") == [f"{sum(range(1001))} {sum(range(501))}"]


def test_batches_arrive_whole_in_a_transaction_and_without(jdbc: Player) -> None:
    total = 2 * sum(range(700))
    assert jdbc.play("open", "batches") == ["no transaction 700", "transaction 700", f"1400 {total}"]


def test_copy_goes_in_and_out_and_a_bad_row_leaves_the_connection(jdbc: Player) -> None:
    assert jdbc.play("open", "copies") == ["20000", "20000", "the same", "22P02", "20000"]


def test_a_held_statement_goes_on_and_its_notice_is_a_warning(jdbc: Player) -> None:
    with jdbc.stack.approving("UPDATE orders SET total = $1"):
        first, *warnings = jdbc.play("shop", "held")
    assert first == "77.50"
    assert "approv" in warnings[0], warnings


def test_a_batch_of_held_statements_is_approved_as_one(jdbc: Player) -> None:
    with jdbc.stack.approving("INSERT INTO orders"):
        assert jdbc.play("shop", "held batch") == ["1", "1", "1", "0"]


def test_a_denied_statement_fails_its_transaction_and_leaves_the_connection(jdbc: Player) -> None:
    alone, *rest = jdbc.play("shop", "denied")
    assert alone.startswith("42501 ")
    assert "no schema changes here" in alone
    assert [line.split()[0] for line in rest] == ["41", "42", "42501", "25P02", "44", "42501", "0"]


def test_a_cancel_ends_a_hold_and_the_connection_goes_on(jdbc: Player) -> None:
    process = jdbc.start("shop", "cancelled")
    pending = jdbc.stack.pending("DELETE FROM orders WHERE id = 20")
    assert finished(process, said="\n") == ["57014", "1"]
    eventually(lambda: jdbc.stack.approval(pending["id"])["state"] == "cancelled", "the end of the request")
