import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.embedding.embed import VERSION, EmbedSettings
from darkroom.images import previews
from darkroom.images.resize import resize
from darkroom.workers.mapper import ShardTask, fingerprints
from stages import clean, embed
from tests.embedding.test_feature_map import pooled_plainly
from tests.harness import damage
from tests.stages.test_clean import write_index, write_raw

KERAS_HOME = (Path(__file__).parents[2] / ".." / "shared" / "data" / "keras").resolve()
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
needs_weights = pytest.mark.skipif(
    not (KERAS_HOME / "models" / WEIGHTS).exists(), reason="no ImageNet weights beside this folder"
)


def encode(pixels, kind="JPEG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def contents(patches):
    """Return three shards of images of several kinds, and one that is broken."""
    whole = [encode(patch) for patch in patches[:38]]
    png = encode(patches[40][:50], "PNG")
    return [whole[:21], [png, *whole[21:], whole[0][:300]], [encode(patches[41][:, :40])]]


def run(root, values, workers=1, **changes):
    """Clean and embed; return the embeddings by key, and the metrics."""
    values["embed"] |= changes
    values["engine"]["workers"] = workers
    params = check_params(values, Params)
    clean.run(root, params)
    embed.run(root, params)
    keys, rows = tables.read_vectors(root / embed.TARGET, shards.stored(index_of(root))["key"])
    vectors = dict(zip(keys, rows, strict=True))
    return vectors, json.loads((root / embed.METRICS).read_text())


def index_of(root):
    return tables.read_table(root / "data/raw/index.parquet", tables.INDEX)


def parts_of(root):
    return {path.name: path.read_bytes() for path in (root / embed.TARGET).iterdir()}


def test_every_decodable_image_has_a_vector_of_unit_length(tmp_path, values, in_process, contents):
    write_raw(tmp_path, *contents)
    vectors, metrics = run(tmp_path, values)
    broken = shards.key_of(contents[1][-1])
    assert set(vectors) == {shards.key_of(c) for shard in contents for c in shard} - {broken}
    lengths = np.linalg.norm(list(vectors.values()), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    assert (metrics["images"], metrics["embedded"]) == (40, 40)
    assert metrics["dimensions"] == len(next(iter(vectors.values())))


def test_an_image_has_the_same_vector_in_any_company_and_with_any_workers(
    tmp_path, values, contents
):
    backwards = [content for shard in contents for content in shard][::-1]
    write_raw(tmp_path / "one", *contents)
    write_raw(tmp_path / "many", *contents)
    write_raw(tmp_path / "shuffled", backwards)
    one, _ = run(tmp_path / "one", values)
    run(tmp_path / "many", values, workers=3)
    shuffled, _ = run(tmp_path / "shuffled", values)
    assert parts_of(tmp_path / "one") == parts_of(tmp_path / "many")
    assert all(np.array_equal(one[key], shuffled[key]) for key in one)


def test_what_fails_all_the_same_is_a_row_with_a_reason(tmp_path, values, in_process, patches):
    whole = [encode(patch) for patch in patches[:3]]
    large = encode(np.tile(patches[3], (3, 3, 1)))
    index = write_raw(tmp_path, [*whole, large])
    params = check_params(values, Params)
    clean.run(tmp_path, params)
    damage(tmp_path, previews.locate(tmp_path).loc[[shards.key_of(whole[0]), shards.key_of(large)]])
    vectors, metrics = run(tmp_path, values)
    assert set(vectors) == {shards.key_of(content) for content in whole[1:]}
    assert (metrics["images"], metrics["embedded"]) == (4, 2)
    assert metrics["failed"] == {"corrupt": 1, "not_an_image": 1}
    rows = tables.read_parts(tmp_path / embed.TARGET, ["key", "reason"])
    assert set(rows["key"]) == set(index["key"])


def test_images_that_stay_are_not_embedded_again(tmp_path, values, in_process, contents):
    index = write_raw(tmp_path, contents[0])
    before, _ = run(tmp_path, values)
    index.loc[0, "status"] = "withdrawn"
    write_index(tmp_path, index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(previews, "decode_picture", None)  # would fail when called
        after, _ = run(tmp_path, values)
    assert set(before) - set(after) == {index.loc[0, "key"]}
    incremental = parts_of(tmp_path)
    shutil.rmtree(tmp_path / embed.TARGET)
    run(tmp_path, values)
    assert parts_of(tmp_path) == incremental


def test_no_images_are_no_error(tmp_path, values, in_process):
    write_raw(tmp_path, [b"no image"])
    values["clean"]["max_failed_fraction"] = 1
    with pytest.raises(UserError, match="none of the 1 images is kept"):
        run(tmp_path, values)
    embed.run(tmp_path, check_params(values, Params))
    metrics = json.loads((tmp_path / embed.METRICS).read_text())
    assert (metrics["embedded"], metrics["dimensions"]) == (0, None)


@pytest.mark.parametrize(
    "change", [{"network": "VGG16"}, {"layer": "x"}, {"pool_size": 2}, {"digest": "other weights"}]
)
def test_whatever_changes_an_embedding_makes_its_part_stale(tmp_path, contents, change):
    members = shards.stored(write_raw(tmp_path, contents[0]))
    settings = EmbedSettings("bundled", None, 1, "digest")
    old, new = (
        ShardTask(tmp_path, members, tmp_path / "part", each, tmp_path, {})
        for each in (settings, settings._replace(**change))
    )
    assert fingerprints(old, VERSION) != fingerprints(new, VERSION)


@pytest.mark.parametrize("change", [{"layer": "block_1_expand"}, {"pool_size": 2}, {"alpha": 0.35}])
def test_the_bundled_network_takes_no_settings_of_other_networks(tmp_path, values, change):
    with pytest.raises(UserError, match=r"embed: .*bundled, layer must be null"):
        run(tmp_path, values, **change)


@needs_weights
@pytest.mark.parametrize(
    ("layer", "pool_size", "dimensions"), [(None, 1, 2560), ("block_6_expand_relu", 2, 768)]
)
def test_another_network_is_read_as_keras_computes_it(
    tmp_path, values, contents, patches, monkeypatch, layer, pool_size, dimensions
):
    import keras

    monkeypatch.setenv("KERAS_HOME", str(KERAS_HOME))
    write_raw(tmp_path, *contents)
    named = {"network": "MobileNetV2", "alpha": 0.35, "layer": layer, "pool_size": pool_size}
    vectors, metrics = run(tmp_path, values, workers=2, **named)
    assert (metrics["dimensions"], metrics["embedded"]) == (dimensions, 40)
    whole = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), alpha=0.35, include_top=False,
        weights=str(KERAS_HOME / "models" / WEIGHTS),
    )  # fmt: skip
    network = keras.Model(whole.input, whole.get_layer(layer).output if layer else whole.output)
    content = contents[1][0]
    size = network.input_shape[1]
    image = resize(np.asarray(Image.open(io.BytesIO(content))), size, size)
    scaled = keras.applications.mobilenet_v2.preprocess_input(image[None].astype(np.float32))
    expected = pooled_plainly(network(scaled, training=False).numpy()[0], pool_size)
    found = vectors[shards.key_of(content)]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-4)
    before = parts_of(tmp_path)
    (tmp_path / embed.TARGET / "00001.json").unlink()
    run(tmp_path, values, workers=1)
    assert parts_of(tmp_path) == before


@needs_weights
def test_a_layer_that_does_not_exist_stops_the_stage_before_any_work(
    tmp_path, values, contents, monkeypatch
):
    monkeypatch.setenv("KERAS_HOME", str(KERAS_HOME))
    write_raw(tmp_path, contents[0])
    with pytest.raises(UserError, match=r"embed\.layer: .*perhaps .*block_6_expand_relu"):
        run(tmp_path, values, network="MobileNetV2", alpha=0.35, layer="block_6_relu")
    assert not (tmp_path / embed.TARGET).exists()
