"""DVC as its users meet it: whole runs in temporary repositories, images from a local server."""

import csv
import json
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from darkroom.core import tables
from tests.harness import call, dvc_here, make_repository, repro, write_bad_company, write_rated


def set_param(repository, key, value):
    values = yaml.safe_load((repository / "params.yaml").read_text())
    section, name = key.split(".")
    values[section][name] = value
    (repository / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def times_of(repository, *folders):
    """Return when each part was written."""
    return {
        path.relative_to(repository).as_posix(): path.stat().st_mtime_ns
        for folder in folders
        for path in (repository / folder).glob("0*")
    }


def index_of(repository):
    return tables.read_table(repository / "data/raw/index.parquet", tables.INDEX)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def website(tmp_path_factory, patches):
    """Serve a small rated folder; return (its folder, its address)."""
    folder = tmp_path_factory.mktemp("website")
    write_rated(folder, patches[:60])
    write_bad_company(folder)

    def handler(*args):
        return Quiet(*args, directory=folder)

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory, website):
    """Return a repository in which `dvc repro` has run on a list of URLs, and what it ran."""
    folder, address = website
    base = tmp_path_factory.mktemp("listed")
    with (folder / "ratings.csv").open() as handle:
        means = {row["name"]: row["mean"] for row in csv.DictReader(handle)}
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".csv")
    lines = ["url,mean", f"{address}/absent.jpg,5.0"]
    lines += [f"{address}/{name},{means.get(name, '')}" for name in names]
    (base / "urls.csv").write_text("\n".join(lines) + "\n")
    repository = make_repository(
        base / "repository",
        {"kind": "list", "path": str(base / "urls.csv")},
        train__epochs={"head": 0, "fine_tune": 1},
    )
    return repository, repro(repository)


def test_a_fresh_repository_runs_every_stage_once(reproduced):
    repository, ran = reproduced
    assert ran == list(yaml.safe_load((repository / "dvc.yaml").read_text())["stages"])


def test_a_dead_link_and_broken_files_are_rows(reproduced):
    index = index_of(reproduced[0]).set_index("name")
    failed = index[index["status"] == "failed"]
    assert [name.rsplit("/", 1)[-1] for name in failed.index] == ["absent.jpg"]
    summary = tables.read_table(reproduced[0] / "data/clean/summary.parquet")
    faults = summary.loc[summary["status"] != "kept", "reason"]
    assert sorted(faults) == ["not_an_image", "too_small", "truncated"]


def test_metrics_parse_and_dvc_shows_them(reproduced):
    repository, _ = reproduced
    shown = json.loads(call(repository, "dvc", "metrics", "show", "--json"))[""]["data"]
    files = {
        path.relative_to(repository).as_posix() for path in repository.glob("metrics/**/*.json")
    }
    assert files == set(shown)
    assert all("error" not in entry for entry in shown.values())


def test_dvc_draws_every_plot(reproduced, tmp_path):
    repository, _ = reproduced
    words = call(repository, "dvc", "plots", "show", "--out", str(tmp_path))
    assert "error" not in words.lower()
    drawn = (tmp_path / "index.html").read_text()
    assert "vega" in drawn


def test_git_sees_only_what_it_shall_hold(reproduced):
    words = call(reproduced[0], "git", "status", "--porcelain", "--untracked-files=all")
    new = {line[3:] for line in words.splitlines()}
    strange = {
        n
        for n in new
        if not re.fullmatch(r"dvc\.lock|data/sources\.json|data/code/\w+|metrics/.*", n)
    }
    assert strange == set()
    assert "metrics/report.html" not in new


def test_a_second_run_runs_scan_alone(reproduced):
    assert repro(reproduced[0]) == ["scan"]


def test_another_threshold_leaves_the_embeddings(reproduced):
    repository, _ = reproduced
    before = times_of(repository, "data/embeddings")
    set_param(repository, "dedupe.threshold", 0.9)
    ran = dvc_here(repository, "repro", "split")
    assert ran[:2] == ["scan", "dedupe"]
    assert times_of(repository, "data/embeddings") == before


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory, patches):
    """Return a repository with its photos in it, unlabelled, and what `dvc repro` ran."""
    repository = tmp_path_factory.mktemp("unlabelled") / "repository"
    make_repository(repository, {"kind": "folder", "path": "photos"}, train__task="none")
    (repository / ".git/info/exclude").write_text("/photos\n")
    write_rated(repository / "photos", patches[:60])
    (repository / "photos" / "ratings.csv").rename(repository.parent / "ratings.csv")
    return repository, dvc_here(repository, "repro")


def test_an_unlabelled_folder_runs_through_and_exports(unlabelled, tmp_path):
    repository, ran = unlabelled
    assert ran[-1] == "report"
    assert (repository / "metrics/report.html").read_text().startswith("<!")
    assert len(tables.read_table(repository / "data/predictions.parquet")) == 0
    call(repository, "python", "-m", "darkroom", "export", str(tmp_path / "export"))
    exported = [path for path in (tmp_path / "export").rglob("*.jpg")]
    assert len(exported) >= 55


TAKEN_AWAY = [f"{number:03d}.jpg" for number in range(5)]
PARTS = ("data/raw", "data/clean/parts", "data/previews", "data/embeddings")


def test_new_images_are_all_that_is_downloaded_cleaned_and_embedded(unlabelled, patches):
    repository, _ = unlabelled
    before = times_of(repository, *PARTS)
    write_rated(repository.parent / "more", patches[60:80])
    for path in (repository.parent / "more").glob("*.jpg"):
        shutil.copy(path, repository / "photos" / f"new_{path.name}")
    assert {"scan", "download", "clean", "embed"} <= set(dvc_here(repository, "repro", "embed"))
    after = times_of(repository, *PARTS)
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)
    index = index_of(repository)
    new = index[index["name"].str.startswith("new_")]
    assert len(new) == 20
    assert set(new["shard"]) & set(index.loc[~index.index.isin(new.index), "shard"]) == set()
    assert len(tables.read_parts(repository / "data/embeddings", ["key"])) == 80


@pytest.fixture(scope="module")
def fewer(unlabelled):
    """Take images away and label the rest; return the repository and the times before."""
    repository, _ = unlabelled
    before = times_of(repository, *PARTS)
    for name in TAKEN_AWAY:
        (repository / "photos" / name).unlink()
    labels = repository.parent / "ratings.csv"
    kept = [line for line in labels.read_text().splitlines() if line[:7] not in TAKEN_AWAY]
    labels.write_text("\n".join(kept) + "\n")
    source = {"kind": "folder", "path": "photos", "labels": str(labels)}
    set_param(repository, "download.sources", [source])
    dvc_here(repository, "repro", "split")
    return repository, before


def test_images_taken_away_are_withdrawn(fewer):
    repository, before = fewer
    index = index_of(repository)
    assert list(index.loc[index["status"] == "withdrawn", "name"]) == TAKEN_AWAY
    gone = set(index.loc[index["status"] == "withdrawn", "key"])
    split = tables.read_table(repository / "data/split.parquet", tables.SPLIT)
    assert not gone & set(split["key"])
    parts = tables.read_parts(repository / "data/clean/parts", ["key"])
    assert not gone & set(parts["key"])  # nor have they a preview
    after = times_of(repository, *PARTS)
    changed = {Path(name) for name in before if after[name] != before[name]}
    hit = {Path(shard).stem for shard in index.loc[index["key"].isin(gone), "shard"]}
    assert {path.stem for path in changed} <= hit
    assert Path("data/raw") not in {path.parent for path in changed}


def test_a_changed_label_alone_decodes_and_embeds_nothing(fewer):
    repository, _ = fewer
    before, labels = times_of(repository, *PARTS), repository.parent / "ratings.csv"
    labels.write_text(re.sub(r"010\.jpg,[\d.]+", "010.jpg,9.5", labels.read_text()))
    assert "download" in dvc_here(repository, "repro", "embed")
    index = index_of(repository).set_index("name")
    assert index.loc["010.jpg", "mean"] == 9.5
    assert times_of(repository, *PARTS) == before


def test_an_experiment_runs_beside_the_working_tree_with_relative_paths(unlabelled):
    repository, _ = unlabelled
    call(repository, "git", "add", "--all")
    call(repository, "git", "commit", "--quiet", "--message", "Results")
    sources = (repository / "params.yaml").read_bytes()
    overrides = ("-S", "download.sources=[{kind: folder, path: photos}]", "-S", "seed=18")
    command = ("dvc", "exp", "run", "--temp", "--name", "another", *overrides, "split")
    words = call(repository, *command)
    assert "Running stage 'split'" in words
    assert "another" in words
    assert (repository / "params.yaml").read_bytes() == sources
    assert "another" in call(repository, "dvc", "exp", "list", "--name-only")
