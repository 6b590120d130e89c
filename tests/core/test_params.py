import re

import pytest
from dvc.utils.serialize import load_yaml

from darkroom.core.code_digest import StageCode
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params, load_params
from darkroom.core.params.whole import Params
from darkroom.core.paths import original_root, resolve_path
from darkroom.core.yaml import read_yaml
from stages import clean, scan
from tools.params_schema import TARGET, schema_text


def changed(values, key, value):
    *sections, last = key.split(".")
    inner = values
    for section in sections:
        inner = inner[section]
    inner[last] = value
    return values


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("clean.min_sidepx", 3, r"clean\.min_sidepx: unknown key, did you mean `min_side_px`\?"),
        ("dedup", {}, r"dedup: unknown key, did you mean `dedupe`\?"),
        ("train.epochs.finetune", 1, r"train\.epochs\.finetune: unknown key, .*`fine_tune`"),
        ("train.batch_size", "many", r"train\.batch_size: .*integer.*got 'many'"),
        ("train.batch_size", 0, r"train\.batch_size: .*greater than 0; got 0"),
        ("clean.max_failed_fraction", 50, r"max_failed_fraction: .*less than or equal to 1.*50"),
        ("train.task", "ratings", r"train\.task: .*'rating', 'classification'.*got 'ratings'"),
        ("clean.reject", ["blury"], r"clean\.reject\.0: .*'blurry'.*got 'blury'"),
        ("clean.reject", ["grayscale"], r"clean\.reject\.0: .*'greyscale'.*got 'grayscale'"),
        ("clean.reject", "too_small", r"clean\.reject: expected a list.*got 'too_small'"),
        ("clean.grayscale_below", 0.5, r"unknown key, did you mean `greyscale_below`\?"),
        ("clean.clipped_below", 1.2, r"clean\.clipped_below: .*less than or equal to 1; got 1\.2"),
        ("clean.odd_size_below", -0.1, r"clean\.odd_size_below: .*or equal to 0; got -0\.1"),
        ("clean.low_jpeg_quality_below", "low", r"low_jpeg_quality_below: .*number.*got 'low'"),
        ("clean.blurry_below", float("nan"), r"clean\.blurry_below: .*got nan"),
        ("clean.min_side_px", 0, r"clean\.min_side_px: .*greater than 0; got 0"),
        ("clean.min_side_px", 1.5, r"clean\.min_side_px: .*integer.*got 1\.5"),
        ("clean.max_aspect_ratio", 0.5, r"clean\.max_aspect_ratio: .*equal to 1; got 0\.5"),
        ("dedupe.min_class_images", -1, r"min_class_images: .*equal to 0; got -1"),
        ("split", [0.1, 0.2], r"split: .*got \[0\.1, 0\.2\]"),
        ("seed", None, r"seed: .*got null"),
        ("split.test", 0.95, r"split: .*validation \+ test must be below 1"),
        ("train.scale.low", 11, r"train\.scale: .*low must be below high"),
        ("download.sources", [], r"download\.sources: .*at least 1"),
        ("download.sources", [{"kind": "ftp"}], r"download\.sources\.0: .*kind.*folder.*'ftp'"),
    ],
)
def test_a_wrong_setting_names_file_key_value_and_what_is_allowed(values, key, value, expected):
    with pytest.raises(UserError) as caught:
        check_params(changed(values, key, value), Params)
    assert str(caught.value).startswith("params.yaml has wrong settings")
    assert re.search(expected, str(caught.value)), str(caught.value)


def test_a_missing_key_says_so(values):
    del values["dedupe"]["threshold"]
    with pytest.raises(UserError, match=r"dedupe\.threshold: missing"):
        check_params(values, Params)


def test_every_wrong_key_is_listed_at_once(values):
    values["seed"], values["clean"]["min_side_px"] = "x", -1
    with pytest.raises(UserError, match=r"(?s)seed.*clean\.min_side_px"):
        check_params(values, Params)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: [1", "params.yaml"),
        ("just words", "expected sections"),
        ("", "expected sections"),
    ],
    ids=["no YAML", "no mapping", "empty"],
)
def test_a_file_that_is_no_params_file_is_named(tmp_path, text, expected):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=expected):
        load_params(tmp_path, Params)


def test_a_missing_file_is_named_with_the_place_that_was_looked_at(tmp_path):
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        load_params(tmp_path, Params)


def test_the_settings_of_the_repository_are_valid(repository):
    load_params(repository, Params)


def test_values_are_read_as_dvc_reads_them(tmp_path):
    text = "a: 3e-05\nb: yes\nc: 010\nd: 1:30\ne: 1_000\nf: 0o10\ng: 2024-01-31\nh: off\ni: 1e9\n"
    (tmp_path / "a.yaml").write_text(text)
    found = read_yaml(tmp_path / "a.yaml")
    assert found == load_yaml(str(tmp_path / "a.yaml"))
    assert (found["a"], found["b"], found["c"]) == (0.00003, "yes", 10)


def test_a_stage_looks_at_its_own_sections_alone_and_scan_at_all(values):
    values["train"]["task"] = "ratings"
    assert set(dict(check_params(values, clean.Params))) == {"engine", "clean"}
    with pytest.raises(UserError, match=r"train\.task"):
        check_params(values, scan.Params)


def test_the_settings_of_train_are_no_code_of_clean(repository):
    modules = StageCode(repository).describe("stages.clean")["modules"]
    assert "darkroom.core.params.clean" in modules
    others = ("params.train", "params.whole", "explain", "validation_errors")
    assert not {f"darkroom.core.{name}" for name in others} & set(modules)


def test_settings_never_change_after_reading(params):
    with pytest.raises(ValueError, match="frozen"):
        params.clean.min_side_px = 1


def test_the_schema_for_editors_is_current(repository):
    current = (repository / TARGET).read_text() == schema_text()
    assert current, f"{TARGET} is out of date: run `make schema`"


def test_relative_paths_mean_the_original_repository_also_in_a_temporary_experiment(tmp_path):
    experiment = tmp_path / ".dvc" / "tmp" / "exps" / "tmpabc"
    experiment.mkdir(parents=True)
    assert original_root(experiment) == tmp_path.resolve()
    assert resolve_path(experiment, "photos") == tmp_path.resolve() / "photos"
    assert resolve_path(tmp_path, "/photos").as_posix() == "/photos"
