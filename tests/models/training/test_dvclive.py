import json
import subprocess

import pytest

from darkroom.models.training import dvclive

ROWS = [
    {"epoch": 1, "phase": "head", "loss": 0.5, "val_loss": 0.4},
    {"epoch": 2, "phase": "fine_tune", "loss": 0.3, "val_loss": 0.35},
    {"epoch": 3, "phase": "fine_tune", "loss": 0.2, "val_loss": 0.3},
]


def log(folder, histories):
    with dvclive.live_metrics(folder) as on_epoch_end:
        for history in histories:
            on_epoch_end(history)
    return (folder / "metrics.json").read_bytes()


def test_the_file_depends_on_the_history_alone(tmp_path):
    whole = log(tmp_path / "whole", [ROWS[:1], ROWS[:2], ROWS])
    assert log(tmp_path / "resumed", [ROWS]) == whole
    assert json.loads(whole) == {
        "head": {"epoch": 1, "loss": 0.5, "val_loss": 0.4},
        "fine_tune": {"epoch": 2, "loss": 0.2, "val_loss": 0.3},
        "step": 3,
    }


@pytest.mark.parametrize("commands", [[], [["git", "init", "-q"]]], ids=["no git", "no commit"])
def test_nothing_else_is_written_and_nothing_is_sent(tmp_path, monkeypatch, commands):
    def refuse(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("dvclive.studio.post_live_metrics", refuse)
    for name, value in {"DVC_STUDIO_TOKEN": "token", "DVC_EXP_NAME": "tried",
                        "DVC_EXP_BASELINE_REV": "0" * 40}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        subprocess.run(command, check=True)
    log(tmp_path / "metrics/live", [ROWS])
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {path for path in written if not path.startswith(".git")} == {
        "metrics", "metrics/live", "metrics/live/metrics.json",
    }  # fmt: skip
