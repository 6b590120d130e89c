"""How often an original is decoded: once, by clean, and then where every pixel is needed."""

import pandas as pd
import pytest

from darkroom.augmentation.chains import Recipe
from darkroom.augmentation.generate import make_variants, plan_batches
from darkroom.core import shards, tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.images import decode
from darkroom.images.previews import Previews
from darkroom.report.image_store import ImageStore
from darkroom.review.pictures import SMALL_PX, draw
from stages import clean, dedupe, embed
from tests.stages.test_clean import large, write_raw

IMAGES = 6


@pytest.fixture
def decoded(monkeypatch):
    """Return the list to which every original that is decoded from now on is added."""
    seen, read_image = [], decode.read_image

    def note(content, *limits):
        seen.append(content)
        return read_image(content, *limits)

    monkeypatch.setattr(decode, "read_image", note)
    return seen


def test_an_original_is_decoded_once_and_again_only_for_every_pixel(
    tmp_path, values, in_process, decoded
):
    contents = [large(seed, "JPEG" if seed % 2 else "PNG") for seed in range(IMAGES - 1)]
    contents.append(large(1, quality=60))  # a copy, and plainly the same
    index = write_raw(tmp_path, contents)
    values["engine"]["workers"] = 1
    params, counts = check_params(values, Params), {}

    def count(name, work):
        decoded.clear()
        work()
        counts[name] = sorted(pd.Series(decoded, dtype=object).value_counts())

    def look():
        pictures = Previews(tmp_path)
        for key in index["key"]:
            assert ImageStore(pictures).thumbnail(key)
            assert draw(tmp_path, pictures.place(key), SMALL_PX)

    def augment():
        recipe = Recipe((("shift", 0.1),), (1, 1), "reflect")
        variants = dict.fromkeys(index["key"], 3)
        stored = shards.stored(index)
        for batch in plan_batches(tmp_path / "data/raw", stored, variants, 17, recipe, 10**8):
            make_variants(batch)

    count("clean", lambda: clean.run(tmp_path, params))
    count("embed", lambda: embed.run(tmp_path, params))
    count("dedupe", lambda: dedupe.run(tmp_path, params))
    groups = tables.read_table(tmp_path / "data/dedupe/groups.parquet")
    assert groups["reason"].tolist().count("copy") == 1
    count("report and review", look)
    count("augment", augment)
    assert counts == {
        "clean": [1] * IMAGES, "embed": [], "dedupe": [], "report and review": [],
        "augment": [1] * IMAGES,
    }  # fmt: skip
