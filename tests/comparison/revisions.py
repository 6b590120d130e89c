"""Revisions whose predictions are known: as tables, and in a git and DVC repository."""

import json

import numpy as np
import pandas as pd
import yaml
from dvc.repo import Repo

from darkroom.comparison.differences import compare
from darkroom.comparison.pairs import pair
from darkroom.comparison.revisions import Revision, RevisionParams
from darkroom.core.tables import SPLIT, write_table
from darkroom.evaluation.predictions import schema_of
from tests.harness import call, read_values

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
        values = read_values()
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


def good_and_bad(root):
    """Return a repository with two revisions of ratings: `good`, and the worse `bad`."""
    project = Project(root)
    project.commit("good", ratings(0.4))
    project.commit("bad", ratings(2.5))
    return project


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
        params=RevisionParams.model_validate({"seed": 17, "train": train, "evaluate": evaluate}),
        **known,
    )


def compared(base, head, **changes):
    """Return the differences by name."""
    both = revision(base, **changes), revision(head, "two", **changes)
    return {d.metric: d for d in compare(*both, pair(*both)).differences}


def revisions(base, head, **of_head):
    return revision(base, "one"), revision(head, "two", **of_head)
