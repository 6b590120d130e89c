"""The command line as a whole."""

import subprocess
import sys

import pytest

from tests.harness import run_command, tool_environment

COMMANDS = ("compare", "export", "predict", "purge", "retry", "review")


def test_help_names_every_command_and_loads_no_library():
    script = """
import runpy, sys
sys.argv = ["darkroom", "--help"]
try:
    runpy.run_module("darkroom", run_name="__main__")
finally:
    print("loaded:", *sorted({"numpy", "pandas", "pydantic", "tensorflow"} & set(sys.modules)))
"""
    said = subprocess.run(
        [sys.executable, "-c", script],
        env=tool_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [line.split()[0] for line in said.split("Commands:\n")[1].splitlines()] == [
        *COMMANDS, "loaded:"
    ]  # fmt: skip
    assert said.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_in_help_stand_on_lines_of_their_own(command, capsys):
    assert run_command(command, "--help") == 0
    said = capsys.readouterr().out
    assert r"\b" not in said
    examples = [line for line in said.splitlines() if line.startswith(f"    darkroom {command} ")]
    assert bool(examples) == (command != "retry")
    assert max(map(len, said.splitlines())) <= 80


def test_purge_without_an_image_is_a_wrong_command_line(capsys):
    assert run_command("purge") == 2
    assert "expected a KEY, SOURCE:NAME or --from FILE" in capsys.readouterr().err
