import csv
import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.core.shards import key_of, write_shard
from darkroom.core.tables import AUGMENTED, GROUPS, INDEX, SPLIT, read_table, write_table
from darkroom.export import dataset, writers
from darkroom.export.dataset import export_dataset, part_numbers
from darkroom.export.folder_names import slug, slugs
from tests.harness import PARAMS, damage_raw, read_tar, run_command

HOSTILE = [
    "../x",
    "",
    "a/b",
    "a_b",
    "CON",
    "x" * 400,
    "x" * 401,
    "Cat",
    "cat",
    "=1+1",
    "unlabelled",
]


def image(number: int, form: str = ".png") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
    return cv2.imencode(form, pixels)[1].tobytes()


def build(root: Path, labels: list, ratings: bool = False, augmented: int = 0) -> dict[str, bytes]:
    """Write the tables and shards of a data set with one kept image per label; return its bytes."""
    contents = [image(number, ".jpg" if number % 2 else ".png") for number in range(len(labels))]
    keys = [key_of(content) for content in contents]
    members = [(f"{key}.bin", content) for key, content in zip(keys, contents, strict=True)]
    places = write_shard(root / "data/raw/00000.tar", members)
    shared = {"label": labels, "ratings": [[1, 2, 3] if ratings else None] * len(keys),
              "mean": [4.25 if ratings else None] * len(keys), "std": None,
              "source_group": None, "official_split": None}  # fmt: skip
    index = pd.DataFrame({"key": keys, "source": "s", "name": keys, "uri": None,
                          "shard": [place.shard for place in places],
                          "offset": [place.offset for place in places],
                          "size": [place.size for place in places],
                          "status": "kept", "reason": None, **shared})  # fmt: skip
    groups = pd.DataFrame({"key": keys, "copy_group": keys, "family": keys, "representative": keys,
                           "status": "kept", "reason": None, **shared, "records": 1,
                           "label_conflict": False})  # fmt: skip
    names = [["train", "validation", "test"][position % 3] for position in range(len(keys))]
    split = pd.DataFrame({"key": keys, "split": names, "split_group": keys, "stratum": None})
    write_table(index, root / "data/raw/index.parquet", INDEX, ["source", "name"])
    write_table(groups, root / "data/dedupe/groups.parquet", GROUPS)
    write_table(split, root / "data/split.parquet", SPLIT)
    return dict(zip(keys, contents, strict=True)) | augment(root, keys[0], augmented)


def augment(root: Path, parent: str, count: int) -> dict[str, bytes]:
    contents = {key_of(image(900 + number)): image(900 + number) for number in range(count)}
    members = [(f"{key}.png", content) for key, content in contents.items()]
    places = write_shard(root / "data/augmented/00000.tar", members)
    columns = {"shard": "00000.tar", "offset": [place.offset for place in places],
               "size": [place.size for place in places]}  # fmt: skip
    frame = pd.DataFrame({"key": list(contents), "parent": parent, "variant": range(count),
                          "operations": "flip", **columns})  # fmt: skip
    write_table(frame, root / "data/augmented/index.parquet", AUGMENTED)
    return contents


def exported(target: Path, form: str) -> dict[str, bytes]:
    """Return key → bytes, as a reader that knows nothing of Darkroom finds them."""
    if form == "folder":
        paths = [path for path in target.rglob("*") if path.suffix in {".jpg", ".png"}]
        return {path.stem: path.read_bytes() for path in paths}
    if form == "webdataset":
        members = [item for path in target.glob("*.tar") for item in read_tar(path).items()]
        return {Path(name).stem: content for name, content in members if "json" not in name}
    frames = [pd.read_parquet(path) for path in (target / "data").glob("*.parquet")]
    table = pd.concat(frames)
    return {row.key: row.image["bytes"] for row in table.itertuples()}


FORMS = ["folder", "webdataset", "parquet"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("labels", [["cat", "dog"] * 4, [None] * 5, HOSTILE, ["a", None, "b"]])
def test_every_format_gives_back_the_bytes_and_the_labels(tmp_path, form, labels):
    contents = build(tmp_path, labels)
    export_dataset(tmp_path, tmp_path / "out", form)
    assert exported(tmp_path / "out", form) == contents
    table = read_table(tmp_path / "out/labels.parquet").set_index("key")
    wanted = dict(zip(contents, labels, strict=True))
    assert {key: None if pd.isna(v) else v for key, v in table["label"].items()} == wanted
    assert set(table["split"]) <= {"train", "validation", "test"}
    assert not (tmp_path / "out/EXPORT-UNFINISHED").exists()


@pytest.mark.parametrize("form", FORMS)
def test_the_same_data_set_exports_to_the_same_bytes(tmp_path, form):
    build(tmp_path, HOSTILE, ratings=True)
    for name in ("one", "two"):
        export_dataset(tmp_path, tmp_path / name, form)
    one = {path.relative_to(tmp_path / "one"): path for path in (tmp_path / "one").rglob("*.*")}
    assert one
    for name, path in one.items():
        assert path.read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("form", writers.FORMATS)
def test_bytes_that_their_key_denies_are_left_out(tmp_path, form, caplog):
    contents = build(tmp_path, ["cat", "dog"] * 3)
    damaged = list(contents)[2]
    damage_raw(tmp_path, damaged)
    export_dataset(tmp_path, tmp_path / "out", form)
    del contents[damaged]
    assert exported(tmp_path / "out", form) == contents
    assert set(read_table(tmp_path / "out/labels.parquet")["key"]) == set(contents)
    assert f"1 images that clean found whole no longer decode and are left out, as {damaged}" in (
        caplog.text
    )


def test_folder_has_split_label_and_key(tmp_path):
    contents = build(tmp_path, ["cat", None])
    first, second = contents
    export_dataset(tmp_path, tmp_path / "out", "folder")
    assert (tmp_path / f"out/train/cat/{first}.png").is_file()
    assert (tmp_path / f"out/validation/unlabelled/{second}.jpg").is_file()


@pytest.mark.parametrize("given", ["mean", "ratings"])
def test_either_kind_of_rating_makes_no_folder(tmp_path, given):
    contents = build(tmp_path, [None], ratings=True)
    groups = read_table(tmp_path / "data/dedupe/groups.parquet", GROUPS)
    other = {"mean": "ratings", "ratings": "mean"}[given]
    table = tmp_path / "data/dedupe/groups.parquet"
    write_table(groups.assign(**{other: None}), table, GROUPS)
    export_dataset(tmp_path, tmp_path / "out", "folder")
    (path,) = (tmp_path / "out/train").iterdir()
    assert path.stem == next(iter(contents))


def test_the_csv_has_a_column_per_score(tmp_path):
    contents = build(tmp_path, [None], ratings=True)
    export_dataset(tmp_path, tmp_path / "out", "folder")
    (key,) = contents
    assert [path.name for path in (tmp_path / "out/train").iterdir()] == [f"{key}.png"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/labels.csv").read_text())))
    assert [rows[0][f"rating_{bin}"] for bin in (1, 2, 3)] == ["1", "2", "3"]
    assert rows[0]["mean"] == "4.25"


def test_nothing_is_written_outside_the_target(tmp_path):
    build(tmp_path / "repo", HOSTILE)
    before = {path for path in tmp_path.rglob("*")}
    export_dataset(tmp_path / "repo", tmp_path / "out", "folder")
    new = {path for path in tmp_path.rglob("*")} - before - {tmp_path / "out"}
    assert all(path.is_relative_to(tmp_path / "out") for path in new)
    depths = {
        len(path.relative_to(tmp_path / "out").parts) for path in new if path.suffix != ".csv"
    }
    assert depths <= {1, 2, 3}


@pytest.mark.parametrize(
    ("label", "name"),
    [
        pytest.param("cat", "cat", id="plain"),
        pytest.param("Hot Dog", "Hot Dog", id="space"),
        pytest.param("Épée 犬", "Épée 犬", id="unicode"),
        pytest.param("../x", "___x", id="up"),
        pytest.param("..", "_", id="dots"),
        pytest.param("", "_", id="empty"),
        pytest.param("a/b\\c:d", "a_b_c_d", id="separators"),
        pytest.param("CON", "CON_", id="device"),
        pytest.param("nul.txt", "nul.txt_", id="device-with-extension"),
        pytest.param(".git", "_git", id="hidden"),
        pytest.param("a\0\n\u202eb", "a___b", id="control"),
        pytest.param("end. ", "end", id="windows-strips"),
    ],
)
def test_slug(label, name):
    assert slug(label) == name


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=8))
def test_slugs_are_distinct_safe_names(labels):
    names = slugs(labels)
    assert set(names) == labels
    assert len({name.casefold() for name in names.values()} | {"unlabelled"}) == len(labels) + 1
    for name in names.values():
        assert 0 < len(name.encode()) <= 255
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert name[0] != "."
        assert name[-1] not in ". "


def test_labels_that_share_a_slug_do_not_merge():
    names = slugs(["a/b", "a_b", "Cat", "cat", "dog"])
    assert len(set(names.values())) == 5
    assert names["dog"] == "dog"
    imitated = names["a/b"]  # a label that imitates another one's digits
    assert len(set(slugs(["a/b", "a_b", imitated]).values())) == 3


def test_csv_cells_run_no_formula_and_parquet_is_exact(tmp_path):
    build(tmp_path, ["=HYPERLINK(1)", "+1", "-1", "@a", "\tb", "fine"])
    export_dataset(tmp_path, tmp_path / "out", "webdataset")
    text = (tmp_path / "out/labels.csv").read_text()
    labels = {row["label"] for row in csv.DictReader(io.StringIO(text))}
    assert labels == {"'=HYPERLINK(1)", "'+1", "'-1", "'@a", "'\tb", "fine"}
    assert "=HYPERLINK(1)" in set(pd.read_parquet(tmp_path / "out/labels.parquet")["label"])


def test_webdataset_pairs_each_image_with_its_labels(tmp_path):
    contents = build(tmp_path, ["cat"], ratings=True)
    export_dataset(tmp_path, tmp_path / "out", "webdataset")
    (key,) = contents
    members = read_tar(tmp_path / "out/train-00000.tar")
    assert list(members) == [f"{key}.png", f"{key}.json"]
    labels = json.loads(members[f"{key}.json"])
    assert labels["label"] == "cat"
    assert labels["ratings"] == [1, 2, 3]
    assert labels["std"] is None


def test_parquet_tells_hugging_face_that_it_holds_images(tmp_path):
    build(tmp_path, ["cat", "dog"])
    export_dataset(tmp_path, tmp_path / "out", "parquet")
    path = tmp_path / "out/data/train-00000-of-00001.parquet"
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert list(features) == pq.read_schema(path).names


@pytest.mark.parametrize("form", FORMS)
def test_augmented_images_come_with_their_parents_label_when_asked_for(tmp_path, form):
    contents = build(tmp_path, ["cat", "dog"], augmented=3)
    export_dataset(tmp_path, tmp_path / "plain", form)
    assert len(exported(tmp_path / "plain", form)) == 2
    export_dataset(tmp_path, tmp_path / "out", form, with_augmented=True)
    assert exported(tmp_path / "out", form) == contents
    table = read_table(tmp_path / "out/labels.parquet")
    new = table[table["parent"].notna()]
    assert set(new["label"]) == {"cat"}
    assert set(new["split"]) == {"train"}
    assert len(new) == 3


@pytest.mark.parametrize("place", ["data", "data/out", "metrics/x", ".git", "away/../data/y"])
def test_a_folder_of_the_pipeline_is_refused(tmp_path, place):
    build(tmp_path, ["cat"])
    with pytest.raises(UserError, match="belongs to the pipeline"):
        export_dataset(tmp_path, tmp_path / place, "folder")


def test_a_link_into_the_pipeline_is_refused(tmp_path):
    build(tmp_path, ["cat"])
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(UserError, match="belongs to the pipeline"):
        export_dataset(tmp_path, tmp_path / "link/out", "folder")


def test_a_folder_that_holds_anything_is_refused_and_untouched(tmp_path):
    build(tmp_path, ["cat"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("keep")
    with pytest.raises(UserError, match="never overwrites"):
        export_dataset(tmp_path, tmp_path / "out", "folder")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="got a file"):
        export_dataset(tmp_path, tmp_path / "out/mine.txt", "folder")


def test_an_interrupted_export_is_known_as_such(tmp_path, monkeypatch):
    build(tmp_path, ["cat", "dog"])
    monkeypatch.setattr(dataset, "write_label_tables", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_dataset(tmp_path, tmp_path / "out", "folder")
    with pytest.raises(UserError, match="unfinished export"):
        export_dataset(tmp_path, tmp_path / "out", "folder")


def test_tables_of_different_runs_are_refused_before_anything_is_written(tmp_path):
    build(tmp_path, ["cat", "dog"])
    groups = read_table(tmp_path / "data/dedupe/groups.parquet", GROUPS).head(1)
    write_table(groups, tmp_path / "data/dedupe/groups.parquet", GROUPS)
    with pytest.raises(UserError, match="different runs"):
        export_dataset(tmp_path, tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()


def test_an_empty_data_set_is_refused(tmp_path):
    build(tmp_path, ["cat"])
    write_table(
        read_table(tmp_path / "data/split.parquet", SPLIT).head(0),
        tmp_path / "data/split.parquet",
        SPLIT,
    )
    with pytest.raises(UserError, match="no image was kept"):
        export_dataset(tmp_path, tmp_path / "out", "folder")


def test_parts_are_limited_by_count_and_by_bytes(monkeypatch):
    monkeypatch.setattr(dataset, "MAX_IMAGES", 3)
    monkeypatch.setattr(dataset, "MAX_BYTES", 10)
    assert part_numbers([1] * 7) == [0, 0, 0, 1, 1, 1, 2]
    assert part_numbers([6, 6, 3, 50, 1]) == [0, 1, 1, 2, 3]
    assert part_numbers([]) == []


@pytest.mark.parametrize("form", FORMS)
def test_many_parts_lose_nothing(tmp_path, monkeypatch, form):
    monkeypatch.setattr(dataset, "MAX_IMAGES", 2)
    monkeypatch.setattr(writers, "ROW_GROUP_IMAGES", 1)
    contents = build(tmp_path, ["cat"] * 14)
    export_dataset(tmp_path, tmp_path / "out", form)
    assert exported(tmp_path / "out", form) == contents


def test_the_command_line_exports_and_refuses(tmp_path, monkeypatch, capsys):
    build(tmp_path, ["cat", "dog"])
    shutil.copy(PARAMS, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    assert run_command("export", "out") == 0
    assert len(exported(tmp_path / "out", "folder")) == 2
    assert run_command("export", "out") == 1
    assert capsys.readouterr().err.startswith("error: out: expected a new or empty folder")
