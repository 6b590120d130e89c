"""Comparing revisions of a real git and DVC repository, whose predictions are known."""

import doctest
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from dvc.repo import Repo
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from darkroom.commands import compare
from darkroom.comparison import text
from darkroom.comparison.differences import compare as compare_pair
from darkroom.comparison.differences import give_verdicts
from darkroom.comparison.pairs import find_leaks, pair
from darkroom.comparison.revisions import Revision, Settings
from darkroom.comparison.text import as_markdown, as_text, code
from darkroom.core.tables import SPLIT, write_table
from darkroom.evaluation.predictions import schema_of
from tests.harness import REPOSITORY, call, tool_environment

COUNT = 60
KEYS = [f"{number:032x}" for number in range(COUNT)]
SCORES = np.arange(1, 11)
DVC_YAML = {
    "stages": {
        "evaluate": {
            "cmd": "true",
            "outs": ["data/predictions.parquet", "data/split.parquet"],
            "metrics": [{"metrics/evaluate.json": {"cache": False}}],
        }
    }
}


def histograms(means):
    bins = np.exp(-((SCORES - np.asarray(means)[:, None]) ** 2) / 2)
    return bins / bins.sum(axis=1, keepdims=True)


def frame(keys, groups, **columns):
    groups = keys if groups is None else groups
    return pd.DataFrame({"key": keys, "split": "test", "split_group": list(groups), **columns})


def ratings(noise, keys=KEYS, groups=None, seed=1, **changes):
    """Return rating predictions whose means are off by `noise` or so."""
    draw = np.random.default_rng(seed)
    target = histograms(np.linspace(2, 9, len(keys)))
    predicted = histograms(np.linspace(2, 9, len(keys)) + noise * draw.normal(size=len(keys)))
    table = {"target_mean": target @ SCORES, "predicted_mean": predicted @ SCORES}
    table["predicted_std"] = np.ones(len(keys))
    for name, bins in (("bin", predicted), ("target_bin", target)):
        table |= {f"{name}_{k}": bins[:, k - 1] for k in SCORES}
    return frame(keys, groups, **(table | changes))


def labelled(wrong, classes=("cat", "dog"), keys=KEYS, groups=None, **changes):
    """Return predictions of classes in turn, of which every `wrong`-th is wrong."""
    names = np.array(classes, object)
    numbers = np.arange(len(keys))
    target = numbers % len(classes)
    predicted = (target + (numbers % wrong == 0)) % len(classes)
    chances = np.full((len(keys), len(classes)), 0.3 / (len(classes) - 1))
    chances[numbers, predicted] = 0.7
    chances += np.random.default_rng(wrong).uniform(0, 0.02, chances.shape)
    chances /= chances.sum(axis=1, keepdims=True)
    table = {"target_label": names[target], "predicted_label": names[predicted]}
    table |= {f"probability_{name}": chances[:, k] for k, name in enumerate(classes)}
    return frame(keys, groups, **(table | changes))


def outlying(noise, **changes):
    draw = np.random.default_rng(2)
    label = np.where(np.arange(COUNT) % 3 == 0, "scratch", "fine")
    score = (label == "scratch") + noise * draw.normal(size=COUNT)
    return frame(KEYS, None, **({"target_label": label, "outlier_score": score} | changes))


def task_of(test):
    if "outlier_score" in test:
        return "one_class"
    return "rating" if "predicted_mean" in test else "classification"


def splits_of(test, train=()):
    held = test[["key", "split", "split_group"]].assign(stratum="all")
    rest = pd.DataFrame([{"key": k, "split": "train", "split_group": k} for k in train])
    return pd.concat([held, rest.assign(stratum="all") if len(rest) else rest])


class Project:
    """A repository to commit revisions to, and to compare them in."""

    def __init__(self, root):
        self.root = root
        call(root, "git", "init", "--quiet")
        Repo.init(str(root)).close()
        (root / "dvc.yaml").write_text(yaml.safe_dump(DVC_YAML))

    def write(self, test, splits=None, scale=None, **tree):
        """Put a revision into the workspace."""
        splits = splits_of(test) if splits is None else splits
        write_table(test, self.root / "data/predictions.parquet", schema_of(test))
        write_table(splits, self.root / "data/split.parquet", SPLIT)
        values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        values["train"]["scale"] = scale or {"low": 1, "high": 10, "bins": 10}
        values["train"]["normal_class"] = "fine"
        values["evaluate"]["bootstrap"] = 500
        (self.root / "params.yaml").write_text(yaml.safe_dump(values))
        known = {"task": task_of(test), "cutoff": 5.0, "positive_class": None} | tree
        (self.root / "metrics").mkdir(exist_ok=True)
        (self.root / "metrics/evaluate.json").write_text(json.dumps(known))

    def commit(self, tag, *content, **changes):
        self.write(*content, **changes)
        with Repo(str(self.root)) as repo:
            repo.commit(force=True)
        call(self.root, "git", "add", "--all")
        call(self.root, "git", "commit", "--quiet", "--allow-empty", "--message", tag)
        call(self.root, "git", "tag", "--force", tag)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("project"))
    made.commit("good", ratings(0.4))
    made.commit("bad", ratings(2.5))
    return made


@pytest.fixture
def ask(project, monkeypatch, capsys):
    """Return a function that runs the command line; it gives the exit status and what it said."""
    monkeypatch.chdir(project.root)

    def run(*arguments):
        status = compare.main(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def refused(ask):
    def run(*arguments):
        status, out, err = ask(*arguments)
        assert (status, out) == (2, "")
        return err

    return run


def revision(test, name="one", splits=None, **changes):
    """Return a revision without a repository."""
    fixed = {"low": 1.0, "high": 10.0, "bins": 10}
    train = {"scale": changes.pop("scale", fixed), "normal_class": "fine"}
    evaluate = {"confidence": 0.95, "bootstrap": changes.pop("bootstrap", 300)}
    known = {"cutoff": 5.0, "positive_class": None} | changes
    return Revision(
        name=name,
        task=task_of(test),
        test=test,
        splits=splits_of(test) if splits is None else splits,
        settings=Settings.model_validate({"seed": 17, "train": train, "evaluate": evaluate}),
        **known,
    )


def compared(base, head, **changes):
    """Return the differences by name."""
    sides = revision(base, **changes), revision(head, "two", **changes)
    return {d.metric: d for d in compare_pair(*sides, pair(*sides)).differences}


# --- the command


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
    judged = [
        d._replace(verdict={"srcc": "better", "rmse": "worse"}.get(d.metric, d.verdict))
        for d in found.differences
    ]
    mixed = found._replace(differences=judged)
    assert compare.exit_status(mixed, require_better=True) == 1
    assert compare.exit_status(mixed._replace(differences=judged[:1]), require_better=True) == 0


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
    with pytest.raises(SystemExit) as stopped:
        compare.main(["--help"])
    assert stopped.value.code == 0
    assert "1  a metric is significantly worse" in capsys.readouterr().out


def test_a_wrong_command_line_is_told_apart_from_worse():
    with pytest.raises(SystemExit) as stopped:
        compare.main(["main", "--require", "best"])
    assert stopped.value.code == 2


def test_alone_it_gives_its_status_without_tensorflow(project):
    script = """
import runpy, sys
sys.argv = ["compare", "good", "bad"]
try:
    runpy.run_module("darkroom.commands.compare", run_name="__main__")
except SystemExit as stopped:
    sys.exit(10 * stopped.code + ("tensorflow" in sys.modules))
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.root,
        env=tool_environment() | {"PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert process.returncode == 10


# --- what cannot be read


def test_a_revision_that_does_not_exist(refused):
    assert "error: nonesuch: unknown Git revision 'nonesuch'; expected a branch" in refused(
        "nonesuch", "good"
    )


def test_a_revision_from_before_the_first_evaluation(project, refused):
    call(project.root, "git", "tag", "--force", "empty", "good")
    work = project.root.parent / "empty"
    call(project.root, "git", "worktree", "add", "--quiet", "--detach", str(work), "good")
    call(work, "git", "rm", "--quiet", "metrics/evaluate.json", "dvc.lock", "dvc.yaml")
    call(work, "git", "commit", "--quiet", "--message", "Before")
    revision = call(work, "git", "rev-parse", "HEAD").strip()
    assert f"{revision} has no metrics/evaluate.json: expected a revision in which" in refused(
        revision, "good"
    )


def test_a_revision_whose_bytes_are_nowhere(project, refused):
    project.commit("lost", ratings(0.7, seed=9))
    cache = project.root / ".dvc/cache/files/md5"
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    digest = lock["stages"]["evaluate"]["outs"][0]["md5"]
    shutil.move(cache / digest[:2] / digest[2:], project.root.parent / "moved")
    said = refused("lost", "good")
    assert "lost: DVC knows data/predictions.parquet but cannot read it" in said
    assert "`dvc fetch --all-commits`" in said


def test_bytes_are_fetched_from_a_remote(project, ask):
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
    assert ask("pushed", "good")[0] == 0


def test_outside_any_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert compare.main(["main"]) == 2
    assert "is not a git repository" in capsys.readouterr().err


def test_a_defect_is_no_verdict(monkeypatch, capsys):
    monkeypatch.setattr(compare, "run", lambda *_: 1 / 0)
    assert compare.main(["main", "--markdown"]) == 2
    said = capsys.readouterr()
    assert said.out == ""  # by which the workflow knows that it broke off
    assert "ZeroDivisionError" in said.err


@pytest.mark.parametrize(
    ("test", "tree", "said"),
    [
        (ratings(1), {"task": "none"}, "says task 'none'; expected rating, classification or"),
        (ratings(1).assign(split="validation"), {}, "has no test images: nothing to compare"),
        (
            ratings(1).drop(columns="bin_3"),
            {},
            "lacks the columns bin_3: it was written by another",
        ),
        (ratings(1, predicted_mean=np.nan), {}, "60 of 60 test predictions are no numbers"),
        (ratings(1), {"cutoff": None}, "metrics/evaluate.json has no cutoff"),
        (labelled(9), {}, "the tasks differ: good has rating, the workspace has classification"),
        (ratings(1, [k[::-1] for k in KEYS]), {}, "only 1 of good's 60 test images"),
        (ratings(1, [f"f{k[1:]}" for k in KEYS]), {}, "only 0 of good's 60 test images are in"),
    ],
    ids=["none", "no test", "no bin", "nan", "no cutoff", "task", "few", "no keys"],
)
def test_a_workspace_that_cannot_be_compared(project, refused, test, tree, said):
    project.write(test, **tree)
    assert said in refused("good")


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
def test_a_file_that_is_broken(project, refused, name, content, said):
    project.write(ratings(1))
    (project.root / name).unlink()
    (project.root / name).write_bytes(content)
    assert said in refused("good")


def test_a_refusal_in_markdown_is_said_on_both_streams(ask):
    status, out, err = ask("`x`|@all", "--markdown")
    assert status == 2
    assert out.startswith("**The models cannot be compared.** <code>&#96;x&#96;&#124;&#64;all")
    assert "unknown Git revision" in err


# --- what is refused, as it would mislead


def sides(base, head, **of_head):
    return revision(base, "one"), revision(head, "two", **of_head)


def refusal(base, head):
    with pytest.raises(compare.UserError) as error:
        pair(base, head)
    return str(error.value)


def test_below_80_percent_of_either_sides_test_images_is_refused():
    whole, most, few = ratings(1), ratings(1, KEYS[:48]), ratings(1, KEYS[:47])
    kept = pair(*sides(whole, most))
    assert (len(kept.head), kept.left_out_base, kept.left_out_head) == (48, 12, 0)
    kept = pair(*sides(most, whole))
    assert (kept.left_out_base, kept.left_out_head) == (0, 12)
    said = "only 47 of one's 60 test images are in both revisions (78%)"
    assert said in refusal(*sides(whole, few))
    assert "only 47 of two's 60" in refusal(*sides(few, whole))


def test_a_test_image_that_the_other_side_was_trained_on_is_refused():
    base, head = ratings(1), ratings(1, KEYS[:-1])
    moved = splits_of(head, train=[KEYS[-1]])
    said = refusal(*sides(base, head, splits=moved))
    assert "1 test images of one" in said
    assert f"in the train split of two, such as {KEYS[-1]}" in said
    assert "test images of two" in refusal(revision(head, splits=moved), revision(base, "two"))


def test_a_relative_of_a_test_image_in_the_other_sides_train_is_a_leak():
    tested = splits_of(ratings(1, groups=["scene", *KEYS[1:]]))
    trained = splits_of(ratings(1), train=["new"]).replace({"split_group": {"new": "scene"}})
    assert find_leaks(tested, trained) == [KEYS[0]]
    assert find_leaks(tested, splits_of(ratings(1), train=["new"])) == []


def test_a_group_that_an_official_split_tears_apart_is_no_leak_into_itself():
    torn = splits_of(ratings(1), train=["new"]).replace({"split_group": {"new": KEYS[0]}})
    assert find_leaks(torn, torn) == []


def test_other_classes_are_refused():
    said = refusal(*sides(labelled(5), labelled(5, ("cat", "fox"))))
    assert "the classes differ: one alone knows dog, two alone fox" in said


@pytest.mark.parametrize(
    ("test", "missing", "said"),
    [
        (labelled(9), ["predicted_label"], "predicted_label"),
        (labelled(9), ["probability_cat", "probability_dog"], "probability_<class>"),
        (outlying(1), ["target_label"], "target_label"),
    ],
)
def test_the_tables_of_another_version_are_refused(test, missing, said):
    one = revision(test)
    assert f"lacks the columns {said}: it was written" in refusal(
        one, one._replace(test=test.drop(columns=missing))
    )


def test_figures_of_another_run_than_the_predictions_are_refused():
    said = refusal(*sides(labelled(9), labelled(9), positive_class="fox"))
    assert "the positive class 'fox' is none of cat, dog" in said


def test_another_normal_class_is_refused():
    base, head = sides(outlying(1), outlying(1))
    train = head.settings.train.model_copy(update={"normal_class": "scratch"})
    head = head._replace(settings=head.settings.model_copy(update={"train": train}))
    assert "the normal classes differ: 'fine' in one, 'scratch' in two" in refusal(base, head)


# --- what is only left out, and said


def test_another_cutoff_is_heads_for_both():
    base, head = revision(ratings(1)), revision(ratings(1), "two", cutoff=7.0)
    both = pair(base, head)
    assert both.notes == ["the cutoffs differ: both are judged at 7, that of HEAD"]
    assert all(d.value == 0 for d in compare_pair(base, head, both).differences)


def test_other_bins_leave_out_emd():
    five = {"low": 1.0, "high": 10.0, "bins": 5}
    base, head = revision(ratings(1), scale=five), revision(ratings(1), "two")
    both = pair(base, head)
    assert both.notes == ["5 and 10 score bins: without EMD"]
    found = [d.metric for d in compare_pair(base, head, both).differences]
    assert found == ["srcc", "plcc", "rmse", "auc", "accuracy"]


def test_another_scale_leaves_out_what_is_in_its_units():
    share = {"low": 0.0, "high": 1.0, "bins": 10}
    rescaled = ratings(1)
    rescaled[["target_mean", "predicted_mean"]] = rescaled[["target_mean", "predicted_mean"]] / 10
    base, head = revision(rescaled, scale=share, cutoff=0.5), revision(ratings(1), "two")
    both = pair(base, head)
    assert "the scales differ, 0 to 1 and 1 to 10: without RMSE, EMD and accuracy" in both.notes[0]
    found = {d.metric: d.value for d in compare_pair(base, head, both).differences}
    assert found == {"srcc": pytest.approx(0), "plcc": pytest.approx(0), "auc": 0}


def test_ratings_known_by_their_mean_alone_have_no_emd():
    unknown = ratings(1, **{f"target_bin_{k}": np.nan for k in SCORES})
    assert list(compared(unknown, unknown)) == ["srcc", "plcc", "rmse", "auc", "accuracy"]


def test_labels_that_changed_are_counted_and_heads_count():
    base, head = labelled(7), labelled(7)
    head.loc[:4, "target_label"] = ["dog", "dog", "dog", "cat", "dog"]
    both = pair(*sides(base, head))
    assert both.relabelled == 4
    assert both.base["target_label"].tolist() == head["target_label"].tolist()
    assert all(d.value == 0 for d in compared(base, head).values())


def test_images_that_either_side_groups_stay_together():
    base = ratings(1, groups=["a", "a", *KEYS[2:]])
    head = ratings(1, groups=[KEYS[0], "b", "b", *KEYS[3:]])
    groups = pair(*sides(base, head)).groups
    assert len(set(groups[:3])) == 1
    assert len(set(groups)) == COUNT - 2


def test_few_groups_are_said():
    few = ratings(1, groups=[f"g{n % 7}" for n in range(COUNT)])
    base, head = sides(few, few)
    shown = as_text(compare_pair(base, head, pair(base, head)))
    assert "Intervals are unreliable: 7 groups." in shown


def test_a_doubt_about_an_interval_does_not_deny_it():
    base, head = sides(ratings(1), ratings(1.5))
    found = compare_pair(base, head, pair(base, head))
    srcc, *others = found.differences
    doubted = srcc._replace(interval=srcc.interval._replace(note="interval unreliable: biased"))
    shown = as_text(found._replace(differences=[doubted, *others]))
    assert "SRCC: interval unreliable: biased." in shown
    assert "No interval" not in shown


def test_one_class_of_images_leaves_auc_undefined_and_the_rest_told():
    low = ratings(1, KEYS)
    found = compared(low, low, cutoff=11.0)
    assert (found["auc"].value, found["auc"].verdict) == (None, "undefined")
    assert found["srcc"].verdict == "no difference shown"


def test_a_class_without_test_images_leaves_the_macro_auc_undefined():
    names = ("cat", "dog", "fox")
    base, head = labelled(20, names), labelled(3, names)
    for side in (base, head):
        side["target_label"] = side["target_label"].replace("fox", "cat")
    found = compared(base, head)
    assert (found["auc"].value, found["auc"].p, found["auc"].verdict) == (None, None, "undefined")
    assert found["accuracy"].verdict == "worse"


def test_a_label_that_no_model_knows_counts_as_an_error():
    base, head = labelled(60), labelled(60)
    for side in (base, head):
        side.loc[1, "target_label"] = "fox"
    found = compared(base, head, positive_class="dog")
    assert found["accuracy"].base == pytest.approx(58 / 60)


# --- known answers


def expected_ratings(test):
    target, predicted = test["target_mean"], test["predicted_mean"]
    bins, true = (test[[f"{n}_{k}" for k in SCORES]].to_numpy() for n in ("bin", "target_bin"))
    gap = np.cumsum(bins - true, axis=1)
    moved = [stats.wasserstein_distance(SCORES, SCORES, *pair) for pair in zip(bins, true)]  # noqa: B905
    return {
        "srcc": stats.spearmanr(target, predicted).statistic,
        "plcc": stats.pearsonr(target, predicted).statistic,
        "rmse": metrics.root_mean_squared_error(target, predicted),
        "emd_r1": np.mean(moved) / 10,
        "emd_r2": np.sqrt((gap**2).mean(axis=1)).mean(),
        "auc": metrics.roc_auc_score(target > 5, predicted),
        "accuracy": metrics.accuracy_score(target > 5, predicted > 5),
    }


@pytest.mark.parametrize("groups", [None, [f"g{n // 2}" for n in range(COUNT)]])
def test_every_difference_of_ratings_is_known(groups):
    base, head = ratings(0.8, groups=groups), ratings(1.5, groups=groups, seed=4)
    before, after = expected_ratings(base), expected_ratings(head)
    found = compared(base, head)
    assert list(found) == list(before)
    for name, d in found.items():
        assert (d.base, d.head) == pytest.approx((before[name], after[name]), abs=1e-9)
        assert d.interval.low <= d.value <= d.interval.high
    if groups is None:
        right = [(f["predicted_mean"] > 5) == (f["target_mean"] > 5) for f in (base, head)]
        lost, won = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
        assert found["accuracy"].p == stats.binomtest(won, won + lost).pvalue
        assert found["auc"].interval.method == "paired DeLong"
    else:
        assert {d.interval.method for d in found.values()} == {"paired cluster bootstrap, BCa"}


def expected_classes(test, names, positive):
    target = test["target_label"].to_numpy(object)
    chances = test[[f"probability_{name}" for name in names]].to_numpy()
    hot = target[:, None] == np.array(names, object)
    if positive:
        area = metrics.roc_auc_score(target == positive, test[f"probability_{positive}"])
    else:
        area = metrics.roc_auc_score(target, chances, multi_class="ovr", labels=names)
    return {
        "accuracy": (test["predicted_label"] == target).mean(),
        "auc": area,
        "brier": ((chances - hot) ** 2).sum(axis=1).mean() / (2 if len(names) == 2 else 1),
    }


@pytest.mark.parametrize(
    ("names", "positive"), [(("cat", "dog"), "dog"), (("cat", "dog", "fox"), None)]
)
def test_every_difference_of_classes_is_known(names, positive):
    base, head = labelled(11, names), labelled(3, names)
    before, after = (expected_classes(test, names, positive) for test in (base, head))
    found = compared(base, head, positive_class=positive)
    assert list(found) == list(before)
    for name, d in found.items():
        assert (d.base, d.head) == pytest.approx((before[name], after[name]), abs=1e-9)
        assert d.verdict == "worse"


def test_outliers_are_the_positives_of_one_class():
    base, head = outlying(0.3), outlying(3.0)
    found = compared(base, head)
    assert list(found) == ["auc"]
    area = metrics.roc_auc_score(head["target_label"] != "fine", head["outlier_score"])
    assert found["auc"].head == pytest.approx(area, abs=1e-12)
    assert found["auc"].verdict == "worse"


@pytest.mark.parametrize(
    ("test", "positive", "main"),
    [
        (ratings(1), None, "srcc"),
        (labelled(5), "dog", "auc"),
        (labelled(5, ("cat", "dog", "fox")), None, "accuracy"),
        (outlying(1), None, "auc"),
    ],
)
def test_the_main_metric_of_each_task(test, positive, main):
    base, head = (revision(test, name, positive_class=positive) for name in ("one", "two"))
    assert compare_pair(base, head, pair(base, head)).main == main


# --- laws


@settings(max_examples=8)
@given(
    noise=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
    together=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_swapping_base_and_head_mirrors_everything(noise, together, seed):
    groups = [f"g{number // together}" for number in range(COUNT)]
    base, head = (ratings(n, groups=groups, seed=seed + k) for k, n in enumerate(noise))
    there, back = compared(base, head), compared(head, base)
    mirrored = {"better": "worse", "worse": "better"}
    for name, d in there.items():
        other = back[name]
        assert d.value == -other.value
        assert d.p == pytest.approx(other.p, abs=1e-9)
        if d.interval.low is None:
            assert other.interval.low is None
        else:
            ends = -other.interval.high, -other.interval.low
            assert d.interval[:2] == pytest.approx(ends, abs=1e-9)
        assert mirrored.get(d.verdict, d.verdict) == other.verdict


@settings(max_examples=8)
@given(noise=st.floats(0.1, 3), together=st.integers(1, 5))
def test_a_model_is_neither_better_nor_worse_than_itself(noise, together):
    groups = [f"g{number // together}" for number in range(COUNT)]
    for test in (ratings(noise, groups=groups), labelled(together + 2, groups=groups)):
        for d in compared(test, test, positive_class=None).values():
            assert (d.value, d.p, d.verdict) == (0, 1, "no difference shown")


def test_holm_decides_over_all_metrics():
    base, head = ratings(0.8), ratings(1.1, seed=4)
    found = list(compared(base, head).values())
    raw = [d._replace(p=0.04) for d in found]
    assert {d.verdict for d in give_verdicts(raw, 0.95)} == {"no difference shown"}
    assert [d.p_holm for d in give_verdicts(raw, 0.95)] == pytest.approx([0.28] * 7)
    alone = give_verdicts(raw[:1], 0.95)
    assert alone[0].verdict == "worse"


@pytest.mark.parametrize("metric", ["rmse", "emd_r1", "emd_r2", "brier", "srcc", "auc", "accuracy"])
def test_the_direction_of_each_metric(metric):
    found = {**compared(ratings(0.3), ratings(2.5)), **compared(labelled(30), labelled(2))}
    lower = metric in {"rmse", "emd_r1", "emd_r2", "brier"}
    assert (found[metric].value > 0) == lower
    assert found[metric].verdict == "worse"


# --- what names may hold


def test_the_examples_in_docstrings_hold():
    assert doctest.testmod(text).attempted > 0
    assert doctest.testmod(text).failed == 0


EVIL = "a|b`c` <img src=x> @everyone [x](javascript:1) #1 https://evil.example www.evil.example\n|"


def test_markdown_survives_any_name():
    base = labelled(9, ("cat", EVIL))
    head = labelled(3, ("cat", EVIL))
    one, two = (revision(t, EVIL, positive_class=EVIL) for t in (base, head))
    shown = as_markdown(compare_pair(one, two, pair(one, two)))
    for sign in ("<img", "`", "@", "[", " #1", "://", "www.", "javascript:"):
        assert sign not in shown
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {8}
    assert len(rows) == 5


@given(st.text())
def test_code_holds_nothing_that_markdown_or_html_reads(text):
    inside = code(text).removeprefix("<code>").removesuffix("</code>")
    assert not set(inside) & set("<>|`@[]()*_~!\\\n:./\"'")


def test_the_terminal_survives_any_name():
    one = revision(labelled(9), "\x1b[31m\n", positive_class="dog")
    assert "\x1b" not in as_text(compare_pair(one, one, pair(one, one)))


def test_the_markdown_of_a_comparison(ask):
    status, out, _ = ask("good", "bad", "--markdown")
    assert status == 1
    assert out.startswith("### Is <code>bad</code> better than <code>good</code>?\n")
    assert "| metric | base | head | difference | 95 % interval | p (Holm) | verdict |" in out
