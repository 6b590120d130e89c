"""Nothing is ever deleted: what one setting rejects, another brings back, and back again."""

import pytest

from darkroom.core import tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from stages import clean, dedupe, download, embed, split
from tests.harness import write_bad_company, write_rated

TABLES = ("data/raw", "data/clean", "data/embeddings", "data/dedupe", "data/split.parquet")


@pytest.fixture
def settle(tmp_path, values, patches):
    """Return a function that runs download to split with some settings; it returns all bytes."""
    write_rated(tmp_path / "photos", patches[:12])
    write_bad_company(tmp_path / "photos")
    values["engine"]["workers"], values["train"]["task"] = 1, "none"  # one setting leaves one image
    values["download"]["sources"] = [{"kind": "folder", "path": "photos", "labels": "ratings.csv"}]

    def run(**changes):
        changed = {name: {**values[name], **changes.get(name, {})} for name in ("clean", "dedupe")}
        params = check_params({**values, **changed}, Params)
        for stage in (download, clean, embed, dedupe, split):
            stage.run(tmp_path, params)
        paths = [
            path for name in TABLES for path in [tmp_path / name, *(tmp_path / name).rglob("*")]
        ]
        return {path.relative_to(tmp_path).as_posix(): path.read_bytes()
                for path in paths if path.is_file()}  # fmt: skip

    return tmp_path, run


@pytest.mark.parametrize(
    ("name", "reason", "stricter", "laxer"),
    [
        (
            "recompressed.jpg", "copy", {},
            {"dedupe": {"candidate_threshold": 1.0, "threshold": 1.0, "family_threshold": 1.0}},
        ),
        ("tiny.png", "too_small", {}, {"clean": {"reject": []}}),
        ("003.jpg", "blurry", {"clean": {"reject": ["blurry"], "blurry_below": 0.9}}, {}),
    ],
)  # fmt: skip
def test_a_rejected_image_comes_back_with_the_setting(settle, name, reason, stricter, laxer):
    root, run = settle

    def status_or_reason():
        records = tables.read_table(root / "data/dedupe/records.parquet").set_index("name")
        status, reason = records.loc[name, ["status", "reason"]]
        return status if status == "kept" else reason

    strict = run(**stricter)
    assert status_or_reason() == reason
    lax = run(**laxer)
    assert status_or_reason() == "kept"
    assert run(**stricter) == strict
    assert run(**laxer) == lax
    stored = {path: content for path, content in strict.items() if path.startswith("data/raw")}
    assert stored == {path: lax[path] for path in stored}
