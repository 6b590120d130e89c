"""Decisions made by hand: clean and dedupe apply them, and their removal brings everything back."""

import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.labels.decisions import REVIEW, Decision, check, write_decisions
from stages import clean, dedupe
from tests.harness import PATIENCE_S, run_command, tool_environment
from tests.review.stores import develop, params_of, png, write_store

ALPHA, COPY, BETA = "alpha.png", "alpha copy.png", "beta.png"


@pytest.fixture
def decide(store):
    """Return a function that writes decisions on named images and runs clean and dedupe."""
    root, keys = store

    def run(*rows):
        named = [
            check(Decision(keys.get(key, key), keys.get(other, other), *rest))
            for key, other, *rest in rows
        ]
        write_decisions(root / REVIEW, named)
        return develop(root, clean, dedupe)

    return run


@pytest.fixture
def undecided(decide):
    return decide()


def groups_of(root):
    return tables.read_table(root / "data/dedupe/groups.parquet", tables.GROUPS).set_index("key")


def counts_of(root, stage):
    return json.loads((root / f"metrics/{stage}.json").read_text())["review"]


def outcome(records, name):
    return tuple(records.loc[name, ["status", "reason"]])


def test_a_rejected_image_goes_and_the_next_best_copy_takes_its_place(decide, undecided, store):
    records = decide((ALPHA, "", "reject"))
    assert outcome(undecided, ALPHA)[0] == "kept"
    assert outcome(records, ALPHA) == ("rejected", "review")
    assert outcome(records, COPY)[0] == "kept"
    assert counts_of(store[0], "clean")["rejected"] == 1
    assert decide().equals(undecided)


def test_a_kept_image_is_neither_flagged_away_nor_a_copy(decide, undecided, store):
    records = decide((COPY, "", "keep"), ("tiny.png", "", "keep"), ("broken.png", "", "keep"))
    assert (outcome(undecided, COPY)[1], outcome(undecided, "tiny.png")[1]) == (
        "copy",
        "too_small",
    )
    assert {outcome(records, name)[0] for name in (ALPHA, COPY, "tiny.png")} == {"kept"}
    assert outcome(records, "broken.png") == ("rejected", "truncated")
    keys, groups = store[1], groups_of(store[0])
    assert groups.at[keys[ALPHA], "family"] == groups.at[keys[COPY], "family"]
    assert groups.at[keys[COPY], "representative"] == keys[COPY]
    assert counts_of(store[0], "clean")["kept_despite_flags"] == 1
    assert counts_of(store[0], "dedupe")["keep"] == 2


def test_a_kept_leak_stays_on_its_side(decide, undecided):
    assert outcome(undecided, "leak/train.png") == ("rejected", "leaks_into_test")
    records = decide(("leak/train.png", "", "keep"))
    assert outcome(records, "leak/train.png")[0] == outcome(records, "leak/test.png")[0] == "kept"


def test_a_pair_that_is_no_copy_is_two_images_of_one_family(decide, store):
    records = decide((ALPHA, COPY, "not_duplicate"))
    assert outcome(records, ALPHA)[0] == outcome(records, COPY)[0] == "kept"
    keys, groups = store[1], groups_of(store[0])
    assert groups.at[keys[ALPHA], "family"] == groups.at[keys[COPY], "family"]
    assert groups.at[keys[ALPHA], "copy_group"] != groups.at[keys[COPY], "copy_group"]


def test_a_pair_that_the_rule_never_saw_is_merged(decide, store):
    records = decide((ALPHA, BETA, "duplicate"))
    root, keys = store
    pairs = tables.read_table(root / "data/dedupe/pairs.parquet")
    seen = set(zip(pairs["key_a"], pairs["key_b"], strict=True))
    assert tuple(sorted((keys[ALPHA], keys[BETA]))) not in seen
    groups = groups_of(root)
    whole = groups.loc[[keys[n] for n in (ALPHA, COPY, BETA, "beta copy.png")]]
    assert whole["copy_group"].nunique() == whole["family"].nunique() == 1
    assert (records.loc[[ALPHA, COPY, BETA, "beta copy.png"], "status"] == "kept").sum() == 1


def test_a_label_replaces_and_settles_a_conflict(decide, undecided, store):
    keys, name = store[1], "gamma 1.png"
    assert outcome(undecided, name) == ("rejected", "label_conflict")
    records = decide((name, "", "label", "dog"), (ALPHA, "", "label", "bird"))
    groups = groups_of(store[0])
    assert outcome(records, name)[0] == "kept"
    assert groups.loc[keys[name], ["label", "label_conflict"]].tolist() == ["dog", False]
    assert groups.at[keys[ALPHA], "label"] == "bird"


def test_a_conflict_that_is_kept_has_no_label(decide, store):
    records = decide(("gamma 1.png", "", "keep"))
    assert outcome(records, "gamma 1.png")[0] == "kept"
    assert not isinstance(groups_of(store[0]).at[store[1]["gamma 1.png"], "label"], str)


def test_a_mean_replaces_votes(tmp_path, patches):
    votes = [{"ratings": [0, 5, 5]}, {"ratings": [9, 1, 0]}]
    names = ("a", "b")
    files = [(n, png(patches[0]), v) for n, v in zip(names, votes, strict=True)]
    keys = write_store(tmp_path, [*files, ("other", png(patches[1]), {})])
    assert develop(tmp_path)["reason"].dropna().tolist() == ["label_conflict"] * 2
    write_decisions(tmp_path / REVIEW, [Decision(keys["a"], "", "mean", "2.5")])
    assert "kept" in develop(tmp_path, clean, dedupe)["status"].tolist()
    group = groups_of(tmp_path).loc[keys["a"]]
    assert (group["mean"], group["ratings"]) == (2.5, None)


def test_decisions_on_images_that_are_gone_wait_and_are_counted(decide, undecided, store, caplog):
    gone = "f" * 32
    records = decide((gone, "", "reject"), (gone, ALPHA, "duplicate"))
    assert records.equals(undecided)
    assert counts_of(store[0], "clean")["waiting"] == 2
    assert "2 decisions name images that are not here" in caplog.text
    assert gone in (store[0] / REVIEW).read_text()


@pytest.mark.parametrize("stage", [clean, dedupe])
def test_contradictions_stop_the_stages_before_any_work(store, stage):
    root, key = store[0], "f" * 32
    (root / REVIEW).write_text(f"key,other,decision,value,note\n{key},,keep,,\n{key},,reject,,\n")
    with pytest.raises(UserError, match=r"line 2 says keep and line 3 says reject"):
        stage.run(root, params_of(root))


def test_review_needs_tables_and_a_free_port(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(store[0])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_command("review", "--no-browser", "--port", port) == 1
    assert f"port {port}: expected a free one" in capsys.readouterr().err
    (store[0] / "data/dedupe/groups.parquet").unlink()
    assert run_command("review", "--no-browser") == 1
    assert "run `dvc repro`" in capsys.readouterr().err


def test_review_opens_a_browser_at_an_address_that_is_good_once(store, tmp_path):
    """The address of `webbrowser` is seen by everybody in `ps`; the printed one is not."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened.part\n'
                       f"mv {tmp_path}/opened.part {tmp_path}/opened\n")  # fmt: skip
    browser.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "darkroom", "review"],
        cwd=store[0],
        env=tool_environment() | {"DISPLAY": ":9", "BROWSER": str(browser)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        printed = re.search(r"http://127\.0\.0\.1:\d+/#(\S+)", process.stderr.readline())
        for _ in range(int(PATIENCE_S * 20)):
            if (tmp_path / "opened").exists():
                break
            time.sleep(0.05)
        opened = (tmp_path / "opened").read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert opened.partition("#")[0] == printed[0].partition("#")[0]
    assert opened.partition("#")[2] != printed[1]
    assert process.returncode == 0
