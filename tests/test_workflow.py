"""The workflow's own shell, run here: what a pull request says, and when its check turns red."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.comparison.revisions import good_and_bad, ratings
from tests.harness import REPOSITORY, tool_environment

FLOW = yaml.safe_load((REPOSITORY / ".github/workflows/darkroom.yml").read_text())
JOBS = FLOW["jobs"]


def shell(script, folder, **variables):
    """Run a step as GitHub does by default."""
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=tool_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = good_and_bad(tmp_path_factory.mktemp("project"))
    (made.root / ".venv").symlink_to(Path(sys.executable).parents[1])
    return made


@pytest.fixture
def step(project, tmp_path):
    """Return a function that runs the step in a pull request against `base`."""
    script = next(s["run"] for s in JOBS["build"]["steps"] if s.get("id") == "compare")

    def run(base, **variables):
        output, summary = tmp_path / "output", tmp_path / "summary"
        done = shell(
            script, project.root, BASE=base, GITHUB_OUTPUT=str(output),
            GITHUB_STEP_SUMMARY=str(summary), **variables,
        )  # fmt: skip
        said = [path.read_text() if path.exists() else "" for path in (output, summary)]
        return done, *said

    return run


def test_a_worse_model_is_said_and_the_build_goes_on_to_the_comment(project, step):
    project.write(ratings(2.5))
    done, output, summary = step("good")
    assert (done.returncode, output) == (0, "status=1\n")
    assert "**Significantly worse: SRCC" in summary
    assert "### Metrics against good" in summary
    assert (project.root / "comment.md").read_text() == summary


def test_a_base_without_predictions_is_said_and_the_build_goes_on(step):
    done, output, summary = step("nonesuch")
    assert (done.returncode, output) == (0, "status=2\n")
    assert summary.startswith("**The models cannot be compared.**")


def test_a_comparison_that_breaks_off_fails_the_build(step, tmp_path):
    (tmp_path / "darkroom.py").write_text("raise SystemError\n")
    done, output, _ = step("good", PYTHONPATH=str(tmp_path))
    assert (done.returncode, output) == (1, "")


@pytest.mark.parametrize(
    ("status", "red", "said"),
    [
        ("0", 0, "No metric is significantly worse"),
        ("1", 1, "::error::A metric is significantly worse"),
        ("2", 0, "::notice::The models cannot be compared"),
    ],
)
def test_the_check_is_red_for_a_worse_model_alone(tmp_path, status, red, said):
    (step,) = JOBS["not-worse"]["steps"]
    done = shell(step["run"], tmp_path, STATUS=status)
    assert done.returncode == red
    assert said in done.stdout


def test_the_comment_does_not_wait_for_the_check():
    assert JOBS["comment"]["needs"] == JOBS["not-worse"]["needs"] == "build"
    assert JOBS["build"]["outputs"]["comparison"] == "${{ steps.compare.outputs.status }}"


def test_only_the_job_that_runs_no_code_of_the_change_may_write():
    assert FLOW["permissions"] == {"contents": "read"}
    may = {name for name, job in JOBS.items() if "write" in job.get("permissions", {}).values()}
    assert may == {"comment"}
    assert not any("checkout" in step.get("uses", "") for step in JOBS["comment"]["steps"])
    forks = "github.event.pull_request.head.repo.full_name == github.repository"
    assert forks in JOBS["comment"]["if"]


def test_no_shell_holds_an_expression():
    """What GitHub puts into a script as text could end it: it comes by the environment."""
    for job in JOBS.values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("configured", [False, True])
def test_data_are_pulled_where_a_remote_is_configured(project, configured):
    steps = JOBS["build"]["steps"]
    script = next(s["run"] for s in steps if s.get("name") == "Pull where a remote is configured")
    if configured:
        with Repo(str(project.root)) as repo:
            with repo.config.edit() as config:
                config["core"]["remote"] = "store"
                config["remote"]["store"] = {"url": str(project.root / "store")}
            repo.push()
    done = shell(script, project.root)
    assert done.returncode == 0, done.stderr
    assert ("up to date" in done.stdout or "added" in done.stdout) == configured
