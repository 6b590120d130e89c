import shutil

import pytest
import yaml
from dvc.repo import Repo

from darkroom.comparison.revisions import WORKSPACE, read_revision
from darkroom.core.errors import UserError
from tests.comparison.revisions import COUNT, good_and_bad, ratings
from tests.harness import call


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return good_and_bad(tmp_path_factory.mktemp("project"))


@pytest.fixture
def refusal(project):
    """Return a function that gives the message with which a revision is refusal."""

    def read(name):
        with pytest.raises(UserError) as error:
            read_revision(project.root, name)
        return str(error.value)

    return read


@pytest.mark.parametrize("name", ["good", None])
def test_a_revision_or_the_workspace_is_read(project, name):
    project.write(ratings(0.4))
    revision = read_revision(project.root, name)
    assert (revision.name, revision.task) == (name or WORKSPACE, "rating")
    assert revision.test["predicted_mean"].tolist() == ratings(0.4)["predicted_mean"].tolist()
    assert (revision.cutoff, revision.params.evaluate.bootstrap) == (5.0, 500)


def test_a_revision_that_does_not_exist(refusal):
    said = refusal("nonesuch")
    assert said.startswith("nonesuch: unknown Git revision 'nonesuch'; expected a branch")


def test_a_revision_from_before_the_first_evaluation(project, refusal):
    call(project.root, "git", "tag", "--force", "empty", "good")
    work = project.root.parent / "empty"
    call(project.root, "git", "worktree", "add", "--quiet", "--detach", str(work), "good")
    call(work, "git", "rm", "--quiet", "metrics/evaluate.json", "dvc.lock", "dvc.yaml")
    call(work, "git", "commit", "--quiet", "--message", "Before")
    revision = call(work, "git", "rev-parse", "HEAD").strip()
    assert f"{revision} has no metrics/evaluate.json: expected a revision in which" in refusal(
        revision
    )


def test_a_revision_whose_bytes_are_nowhere(project, refusal):
    project.commit("lost", ratings(0.7, seed=9))
    cache = project.root / ".dvc/cache/files/md5"
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    digest = lock["stages"]["evaluate"]["outs"][0]["md5"]
    shutil.move(cache / digest[:2] / digest[2:], project.root.parent / "moved")
    said = refusal("lost")
    assert "lost: DVC knows data/predictions.parquet but cannot read it" in said
    assert "`dvc fetch --all-commits`" in said


def test_bytes_are_fetched_from_a_remote(project):
    remote = project.root.parent / "remote"
    project.commit("pushed", ratings(0.8, seed=11))
    with Repo(str(project.root)) as repo, repo.config.edit("local") as config:
        config["remote"]["store"] = {"url": str(remote)}
        config["core"]["remote"] = "store"
    with Repo(str(project.root)) as repo:
        repo.push()
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    for out in lock["stages"]["evaluate"]["outs"][:2]:  # git has the third
        path = project.root / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]
        path.chmod(0o644)
        path.unlink()
    assert len(read_revision(project.root, "pushed").test) == COUNT


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data/predictions.parquet", b"PAR1", "is no whole Parquet file"),
        ("metrics/evaluate.json", b"{", "is no JSON"),
        ("metrics/evaluate.json", b"[]", "expected keys and values"),
        ("metrics/evaluate.json", b'{"task": []}', "task: expected text; got []"),
        (
            "metrics/evaluate.json",
            b'{"task": "rating", "cutoff": "low"}',
            "cutoff: expected a valid",
        ),
        (
            "metrics/evaluate.json",
            b'{"task": "rating", "cutoff": NaN}',
            "cutoff: expected a finite",
        ),
        ("params.yaml", b"seed: [", "DVC cannot read this revision"),
        (
            "params.yaml",
            b"seed: 17",
            "params.yaml of the workspace has wrong values: train: missing",
        ),
    ],
)
def test_a_file_that_is_broken(project, refusal, name, content, said):
    project.write(ratings(1))
    (project.root / name).unlink()
    (project.root / name).write_bytes(content)
    assert said in refusal(None)


@pytest.mark.parametrize(
    ("test", "tree", "said"),
    [
        (ratings(1), {"task": "none"}, "says task 'none'; expected rating, classification or"),
        (ratings(1).assign(split="validation"), {}, "has no test images: nothing to compare"),
    ],
    ids=["none", "no test"],
)
def test_a_workspace_without_a_model_to_compare(project, refusal, test, tree, said):
    project.write(test, **tree)
    assert said in refusal(None)
