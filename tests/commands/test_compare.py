"""Comparing revisions of a real git and DVC repository, whose predictions are known."""

import json
import subprocess
import sys

import pytest

from darkroom.commands.compare import exit_status
from darkroom.comparison.differences import compare as compare_pair
from darkroom.comparison.pairs import pair
from tests.comparison.revisions import COUNT, good_and_bad, labelled, outlying, ratings, revision
from tests.harness import run_command, tool_environment


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return good_and_bad(tmp_path_factory.mktemp("project"))


@pytest.fixture
def ask(project, monkeypatch, capsys):
    """Return a function that runs the command line; it gives the exit status and what it said."""
    monkeypatch.chdir(project.root)

    def run(*arguments):
        status = run_command("compare", *arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_worse_head_is_told_and_exits_1(ask):
    status, out, _ = ask("good", "bad")
    assert status == 1
    assert "bad against good" in out
    assert "60 test images in both, in 60 groups; left out: 0 of base alone, 0 of head" in out
    assert "Significantly worse: SRCC" in out
    row = next(line for line in out.splitlines() if line.startswith("RMSE ↓"))
    assert row.endswith("worse")


def test_a_better_head_exits_0_also_where_that_is_required(ask):
    status, out, _ = ask("bad", "good", "--require", "better")
    assert status == 0
    assert "Significantly better: SRCC" in out


def test_the_same_revision_shows_no_difference_and_is_not_better(ask):
    status, out, _ = ask("good", "good")
    assert status == 0
    assert "No difference shown in any metric." in out
    status, _, err = ask("good", "good", "--require", "better")
    assert status == 1
    assert "expected SRCC significantly better" in err


def test_better_is_not_enough_where_another_metric_is_worse():
    base, head = revision(ratings(1)), revision(ratings(1), "two")
    found = compare_pair(base, head, pair(base, head))
    decided = [
        d._replace(verdict={"srcc": "better", "rmse": "worse"}.get(d.metric, d.verdict))
        for d in found.differences
    ]
    mixed = found._replace(differences=decided)
    assert exit_status(mixed, require_better=True) == 1
    assert exit_status(mixed._replace(differences=decided[:1]), require_better=True) == 0


@pytest.mark.parametrize(
    ("before", "after", "tree", "metric"),
    [
        (labelled(20), labelled(3), {"positive_class": "dog"}, "AUC"),
        (labelled(20, ("a", "b", "c")), labelled(3, ("a", "b", "c")), {}, "accuracy"),
        (outlying(0.2), outlying(4), {}, "AUC"),
    ],
    ids=["two classes", "three classes", "one class"],
)
def test_each_task_through_git_and_dvc(project, ask, before, after, tree, metric):
    project.commit("before", before, **tree)
    project.write(after, **tree)
    status, out, _ = ask("before")
    assert status == 1
    row = next(line for line in out.splitlines() if line.startswith(metric))
    assert row.endswith("worse")


def test_head_left_out_is_the_workspace(project, ask):
    project.write(ratings(2.5))
    status, out, _ = ask("good")
    assert status == 1
    assert "the workspace against good" in out


def test_the_numbers_go_to_a_file(project, ask):
    ask("good", "bad", "--json", "found/it.json")
    tree = json.loads((project.root / "found/it.json").read_text())
    srcc = tree["metrics"]["srcc"]
    assert (tree["n"], tree["main"], srcc["verdict"]) == (COUNT, "srcc", "worse")
    low, high = srcc["ci95"]["low"], srcc["ci95"]["high"]
    assert low < srcc["difference"] == srcc["head"] - srcc["base"] < high < 0


def test_nothing_in_the_workspace_changes(project, ask):
    project.write(ratings(1.0))
    before = {p: p.read_bytes() for p in project.root.glob("[dmp]*/*") if p.is_file()}
    ask("good", "bad")
    assert {p: p.read_bytes() for p in before} == before


def test_the_rule_is_in_the_help(capsys):
    assert run_command("compare", "--help") == 0
    assert "1  a metric is significantly worse" in capsys.readouterr().out


def test_a_wrong_command_line_is_told_apart_from_worse():
    assert run_command("compare", "main", "--require", "best") == 2


def test_alone_it_gives_its_status_without_tensorflow(project):
    script = """
import runpy, sys
sys.argv = ["darkroom", "compare", "good", "bad"]
try:
    runpy.run_module("darkroom", run_name="__main__")
except SystemExit as stopped:
    sys.exit(10 * stopped.code + ("tensorflow" in sys.modules))
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.root,
        env=tool_environment(),
        check=False,
    )
    assert process.returncode == 10


def test_outside_any_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command("compare", "main") == 2
    assert "is not a git repository" in capsys.readouterr().err


def test_a_defect_is_no_verdict(monkeypatch, capsys):
    monkeypatch.setattr("darkroom.comparison.revisions.read_revision", lambda *_: 1 / 0)
    assert run_command("compare", "main", "--markdown") == 2
    said = capsys.readouterr()
    assert said.out == ""  # by which the workflow knows that it broke off
    assert "ZeroDivisionError" in said.err


def test_a_refusal_is_said_on_stderr_and_exits_2(ask):
    status, out, err = ask("nonesuch", "good")
    assert (status, out) == (2, "")
    assert err.startswith("error: nonesuch: unknown Git revision 'nonesuch'")


def test_a_refusal_in_markdown_is_said_on_both_streams(ask):
    status, out, err = ask("`x`|@all", "--markdown")
    assert status == 2
    assert out.startswith("**The models cannot be compared.** <code>&#96;x&#96;&#124;&#64;all")
    assert "unknown Git revision" in err


def test_the_markdown_of_a_comparison(ask):
    status, out, _ = ask("good", "bad", "--markdown")
    assert status == 1
    assert out.startswith("### Is <code>bad</code> better than <code>good</code>?\n")
    assert "| metric | base | head | difference | 95 % interval | p (Holm) | verdict |" in out
