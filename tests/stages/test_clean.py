import io
import json
import logging
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image, ImageFilter, ImageOps
from skimage import data

from darkroom.checks import issues, measure
from darkroom.checks.issues import SUMMARY
from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.images import decode
from darkroom.images.previews import Previews
from darkroom.images.resize import resize
from stages import clean
from tests.harness import PATIENCE_S, png, read_tar

ODD = Path(__file__).parents[2] / ".." / "shared" / "data" / "odd"


def picture(seed=0, height=40, width=50, kind="PNG") -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


def write_raw(root, *contents, status="kept"):
    """Write one shard per list of contents, and an index with a record for each file."""
    rows = []
    for number, members in enumerate(contents):
        keys = [shards.key_of(content) for content in members]
        unique = dict(zip(keys, members, strict=True))
        places = shards.write_shard(
            root / "data/raw" / shards.shard_name(number),
            [(f"{key}.bin", content) for key, content in unique.items()],
        )
        place = dict(zip(unique, places, strict=True))
        rows += [
            {"source": "test", "name": f"{number}/{at}", "key": key, "status": status}
            | place[key]._asdict()
            for at, key in enumerate(keys)
        ]
    index = pd.DataFrame(rows).reindex(columns=tables.INDEX.names).astype(object)
    index = index.where(index.notna(), None)
    write_index(root, index)
    return index


def write_index(root, index):
    tables.write_table(index, root / "data/raw/index.parquet", tables.INDEX, ["source", "name"])


def run(root, values, **changes):
    values["clean"] |= changes
    values["engine"]["workers"] = 1
    clean.run(root, check_params(values, Params))
    summary = tables.read_table(root / "data/clean/summary.parquet", SUMMARY)
    return summary.set_index("key"), json.loads((root / "metrics/clean.json").read_text())


def test_each_image_has_a_row_with_its_reason(tmp_path, values, in_process):
    whole, tiny = picture(), picture(1, 9, 9)
    jpeg = picture(2, kind="JPEG")
    contents = [whole, whole, tiny, jpeg, jpeg[:300], b"", b"<html></html>", picture(3, 200, 300)]
    write_raw(tmp_path, contents)
    summary, metrics = run(tmp_path, values, max_pixels=50_000, max_failed_fraction=0.9)
    reasons = {
        tiny: "too_small", jpeg[:300]: "truncated", b"": "empty", b"<html></html>": "not_an_image",
        contents[-1]: "too_many_pixels",
    }  # fmt: skip
    for content, reason in reasons.items():
        assert tuple(summary.loc[shards.key_of(content), ["status", "reason"]]) == (
            "rejected", reason,
        )  # fmt: skip
    for content in (whole, jpeg):
        assert summary.loc[shards.key_of(content), "status"] == "kept"
    assert metrics["in"] == 7
    assert metrics["kept"] == 2
    assert metrics["rejected"] == dict.fromkeys(reasons.values(), 1)


def test_a_record_without_bytes_or_source_drops_out(tmp_path, values, in_process):
    index = write_raw(tmp_path, [picture(0), picture(1), picture(2)])
    index.loc[0, "status"] = "withdrawn"
    index.loc[3] = index.loc[1].to_dict() | {"name": "again", "status": "withdrawn"}
    index.loc[4] = {
        "source": "test",
        "name": "never came",
        "status": "failed",
        "reason": "http_404",
    }
    write_index(tmp_path, index)
    summary, metrics = run(tmp_path, values)
    assert set(summary.index) == set(index.loc[1:2, "key"])
    assert metrics["in"] == 2


def test_a_changed_threshold_decodes_nothing_again(tmp_path, values, monkeypatch):
    write_raw(tmp_path, [picture(0), picture(1, 33, 33)])
    _, before = run(tmp_path, values)
    monkeypatch.setattr(clean.measure, "measure_shard", None)  # would fail when called
    _, after = run(tmp_path, values, min_side_px=34, dark_below=1.0)
    assert (before["kept"], after["kept"]) == (2, 1)
    assert after["flags"]["dark"] > before["flags"]["dark"]


def test_new_shards_are_added_and_a_second_run_repeats_byte_for_byte(tmp_path, values, in_process):
    first, second = [picture(0), picture(1)[:99]], [picture(2)]
    write_raw(tmp_path, first)
    run(tmp_path, values)
    old = tmp_path / "data/clean/parts/00000.parquet"
    written = old.stat().st_mtime_ns
    write_raw(tmp_path, first, second)
    run(tmp_path, values)
    assert old.stat().st_mtime_ns == written
    write_raw(tmp_path / "again", first, second)
    run(tmp_path / "again", values)
    for path in (tmp_path / "data/clean").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path)).read_bytes()


def large(seed, kind="JPEG", height=300, width=400, **options):
    """Return an encoded picture, smooth as photographs are, that is large enough for a preview."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return save(kind, Image.fromarray(coarse).resize((width, height)), **options)


def test_each_larger_image_has_a_preview_and_a_small_one_is_read_in_raw(
    tmp_path, values, in_process
):
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    sizes = {
        large(0): (256, 341), large(1, exif=turned): (341, 256), large(2, "PNG"): (256, 341),
        large(3, height=256, width=700): (256, 700), large(4, height=257, width=257): (256, 256),
        picture(0): (40, 50), large(5, "PNG", 300, 80_000): (300, 80_000), large(6)[:900]: None,
    }  # fmt: skip
    write_raw(tmp_path, list(sizes))
    run(tmp_path, values)
    pictures = Previews(tmp_path)
    copied = {name[:32] for name in read_tar(tmp_path / "data/previews/00000.tar")}
    assert copied == {shards.key_of(list(sizes)[at]) for at in (0, 1, 2, 4)}
    for content, size in sizes.items():
        key = shards.key_of(content)
        assert (pictures.place(key) is not None) == (size is not None)
        if size:
            seen = pictures.read(key)
            assert seen.shape == (*size, 3)
            whole = resize(decode.decode(content), *size[::-1])
            assert np.abs(seen.astype(int) - whole).mean() < 2
    with pytest.raises(decode.DecodeError, match="no picture"):
        pictures.read(shards.key_of(large(6)[:900]))


def files_of(root):
    """Return the bytes of all that clean leaves in data/."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("data/previews", "data/clean")
        for path in (root / folder).rglob("*.*")
    }


@pytest.mark.parametrize("lost", ["data/previews/00000.tar", "data/clean/parts/00000.parquet"])
def test_a_part_is_done_only_with_its_previews(tmp_path, values, in_process, lost):
    write_raw(tmp_path, [large(0)], [large(1)])
    run(tmp_path, values)
    before = files_of(tmp_path)
    written = {path: (tmp_path / path).stat().st_mtime_ns for path in before}
    (tmp_path / lost).unlink()
    run(tmp_path, values)
    assert files_of(tmp_path) == before
    changed = {path for path in before if (tmp_path / path).stat().st_mtime_ns != written[path]}
    assert changed - {"data/clean/summary.parquet", "data/clean/grey_range.json"} == {
        "data/previews/00000.tar", "data/clean/parts/00000.parquet", "data/clean/parts/00000.json"
    }  # fmt: skip


def test_a_withdrawn_image_goes_and_the_others_are_not_decoded_again(tmp_path, values, in_process):
    contents = [large(0), large(1), picture(2), large(3), large(4)[:900], picture(5)]
    index = write_raw(tmp_path, contents, [large(9)])
    run(tmp_path, values)
    index.loc[[0, 5, 6], "status"] = "withdrawn"
    write_index(tmp_path, index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "measure", None)  # would fail when called
        run(tmp_path, values)
    members = read_tar(tmp_path / "data/previews/00000.tar")
    assert {name[:32] for name in members} == {shards.key_of(contents[at]) for at in (1, 3)}
    keys = set(tables.read_parts(tmp_path / "data/clean/parts")["key"])
    assert keys == {shards.key_of(content) for content in contents[1:5]}
    incremental = files_of(tmp_path)
    assert "data/previews/00001.tar" not in incremental
    for folder in ("data/previews", "data/clean"):
        shutil.rmtree(tmp_path / folder)
    run(tmp_path, values)
    assert files_of(tmp_path) == incremental


def test_too_many_broken_images_stop_the_stage_with_the_reasons(tmp_path, values, in_process):
    write_raw(tmp_path, [picture(0)[:99], b"<html></html>", picture(1)])
    with pytest.raises(UserError, match=r"2 of 3 images failed.*clean\.max_failed_fraction"):
        run(tmp_path, values)


def test_one_worker_or_many_and_any_order_of_images_give_the_same_bytes(tmp_path, values, patches):
    contents = [png(patch) for patch in patches[:6]] + [picture(7, 300, 40), picture(8)[:99]]
    whole = tmp_path / "whole"
    write_raw(whole, contents)
    _, expected = run(whole, values)
    write_raw(tmp_path / "many", contents[5:], contents[:2], contents[2:5])
    values["engine"]["workers"] = 2
    clean.run(tmp_path / "many", check_params(values, Params))
    summary = "data/clean/summary.parquet"
    assert (tmp_path / "many" / summary).read_bytes() == (whole / summary).read_bytes()
    assert json.loads((tmp_path / "many/metrics/clean.json").read_text()) == expected


def test_what_is_odd_depends_on_the_others_and_no_part_changes_for_it(tmp_path, values, in_process):
    write_raw(tmp_path, [picture(n, 40 + n, 50) for n in range(5)])
    run(tmp_path, values)
    part = (tmp_path / "data/clean/parts/00000.parquet").read_bytes()
    write_raw(
        tmp_path, [picture(n, 40 + n, 50) for n in range(5)], [picture(9, 900, 900, kind="JPEG")]
    )
    summary, metrics = run(tmp_path, values)
    assert (tmp_path / "data/clean/parts/00000.parquet").read_bytes() == part
    odd = summary[summary["is_odd_resolution"].astype(bool)]
    assert odd["width"].tolist() == [900]
    assert (metrics["flags"]["odd_resolution"], metrics["flags"]["odd_file_size"]) == (1, 1)
    assert metrics["kept"] == 6


def save(kind, image=None, **options):
    stream = io.BytesIO()
    (image or Image.fromarray(data.astronaut())).save(stream, kind, **options)
    return stream.getvalue()


def test_real_pictures_with_one_fault_each_carry_its_flag(tmp_path, values, in_process):
    whole = Image.fromarray(data.astronaut())
    red = Image.new("RGB", whole.size, "red")
    made = {
        "blurry": save("JPEG", whole.filter(ImageFilter.GaussianBlur(30))),
        "dark": save("PNG", whole.point(lambda level: level // 5)),
        "light": save("PNG", whole.point(lambda level: 250 + level // 60)),
        "low_information": save("PNG", whole.point(lambda level: 90 + level // 130)),
        "greyscale": save("JPEG", whole.convert("L")),
        "colourless": save("JPEG", whole.convert("L").convert("RGB")),
        "odd_aspect_ratio": save("JPEG", whole.resize((900, 300))),
        "low_jpeg_quality": save("JPEG", whole, quality=20),
        "low_bits_per_pixel": save("JPEG", whole, quality=2),
        "uniform_border": save("JPEG", ImageOps.expand(whole, 60, "white")),
        "clipped": save("PNG", whole.point(lambda level: min(level * 3, 255))),
        "colour_cast": save("PNG", Image.blend(whole, red, 0.5)),
        "too_small": save("PNG", whole.resize((31, 40))),
        "too_elongated": save("PNG", whole.resize((900, 80))),
    }  # fmt: skip
    fine = save("PNG"), save("JPEG", quality=90)
    write_raw(tmp_path, [*fine, *made.values()])
    summary, metrics = run(tmp_path, values)
    for issue, content in made.items():
        assert summary.loc[shards.key_of(content), f"is_{issue}"], issue
        rejects = issue in {"too_small", "too_elongated"}
        assert summary.loc[shards.key_of(content), "status"] == ("rejected" if rejects else "kept")
    alone = [f"is_{issue}" for issue in issues.ISSUES if not issue.startswith("odd_")]
    keys = [shards.key_of(content) for content in fine]
    assert not summary.loc[keys, alone].astype(bool).to_numpy().any()
    assert set(metrics["flags"]) == set(issues.ISSUES)
    assert metrics["rejected"] == {"too_small": 1, "too_elongated": 1}


def test_an_index_without_images_gives_empty_tables(tmp_path, values):
    empty = pd.DataFrame(columns=tables.INDEX.names)
    (tmp_path / "data/raw").mkdir(parents=True)
    write_index(tmp_path, empty)
    summary, metrics = run(tmp_path, values)
    assert len(summary) == 0
    assert metrics["kept"] == 0


def test_nothing_kept_stops_with_the_reason_and_the_setting(tmp_path, values, in_process):
    write_raw(tmp_path, [picture(number, 20, 20) for number in range(3)])
    with pytest.raises(UserError, match=r"none of the 3 images is kept: 3 too_small.*min_side_px"):
        run(tmp_path, values)


def test_a_class_that_loses_all_its_images_is_named(tmp_path, values, in_process, caplog):
    index = write_raw(tmp_path, [picture(1), picture(2), picture(3, 20, 20), picture(4, 20, 20)])
    write_index(tmp_path, index.assign(label=["cat", "cat", "dog", "dog"]))
    run(tmp_path, values)
    assert "1 of 2 classes lose all their images" in caplog.text
    assert "'dog' (2 too_small); lower" in caplog.text
    assert "clean.min_side_px (32 in params.yaml)" in caplog.text


CRASHES, HANGS = picture(77), picture(78)


def measure_with_a_fragile_decoder(task):
    """Measure as always, in a worker whose decoder dies of one image and hangs at another."""
    read_image = decode.read_image

    def read_or_die(content, *limits):
        if content == CRASHES:
            os._exit(139)
        if content == HANGS:
            with task.guard(shards.key_of(content), 0):  # its time is up at once
                time.sleep(3600)
        return read_image(content, *limits)

    measure.decode.read_image = read_or_die
    measure.measure_shard(task)


def test_a_decoder_that_crashes_or_hangs_costs_one_row_each(tmp_path, values, monkeypatch):
    write_raw(tmp_path, [picture(0), CRASHES, picture(1), HANGS, picture(2)], [picture(3)])
    genuine = measure.measure_shard
    monkeypatch.setattr(
        clean, "measure", type("Fragile", (), vars(measure) | {
            "measure_shard": staticmethod(measure_with_a_fragile_decoder)
        })
    )  # fmt: skip
    summary, metrics = run(tmp_path, values, timeout_s=PATIENCE_S)
    assert measure.measure_shard is genuine
    assert metrics["failed"] == {"decoder_crashed": 1, "decoder_hung": 1}
    assert metrics["kept"] == 4
    assert summary.loc[shards.key_of(CRASHES), "reason"] == "decoder_crashed"
    assert summary.loc[shards.key_of(HANGS), "reason"] == "decoder_hung"


def test_an_image_that_takes_too_much_memory_costs_one_row(tmp_path, values):
    stream = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(stream, "PNG")  # 100 KB that become 500 MB
    write_raw(tmp_path, [picture(0), stream.getvalue(), picture(1)])
    summary, metrics = run(tmp_path, values, max_memory_bytes=200_000_000)
    assert metrics["failed"] == {"decoder_out_of_memory": 1}
    assert metrics["kept"] == 2
    bomb = summary.loc[shards.key_of(stream.getvalue())]
    assert bomb["status"] == "failed"
    assert pd.isna(bomb["width"])  # one answer: what does not decode has no measurements


@pytest.mark.skipif(not ODD.exists(), reason="the odd files are not here")
def test_odd_files_end_as_one_row_each(tmp_path, values, in_process):
    contents = [path.read_bytes() for path in sorted(ODD.iterdir())]
    write_raw(tmp_path, contents)
    summary, metrics = run(tmp_path, values)
    assert set(summary.index) == {shards.key_of(content) for content in contents}
    assert metrics["failed"] == {}
    assert metrics["kept"] > 200
    assert summary["reason"].dropna().isin(
        ["corrupt", "not_an_image", "too_elongated", "too_many_pixels", "too_small", "truncated",
         "unsupported_format"]
    ).all()  # fmt: skip


def deep(bits, seed=0, kind="PNG", side=40):
    """Return noise of so many bits as grey of 16 bits."""
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 2**bits, (side, side)).astype(np.uint16)
    noise[0, 0] = 2**bits - 1
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


def levels(root, key):
    return len(np.unique(Previews(root).read(key)))


def range_of(root):
    return json.loads((root / "data/clean/grey_range.json").read_text())


def test_deep_greys_are_shown_over_the_bits_of_their_set(tmp_path, values, in_process, caplog):
    twelve = [deep(12), deep(10, 1), deep(12, 2, "TIFF"), deep(12, 3, side=300)]
    write_raw(tmp_path, [*twelve[:2], picture()], twelve[2:], [picture(4)])
    with caplog.at_level(logging.INFO):
        run(tmp_path, values)
    assert range_of(tmp_path) == {"black": 0, "white": 4095, "given": False}
    assert "4 deep grey images are shown from 0 to 4095, 12 bits: their largest" in caplog.text
    assert [levels(tmp_path, shards.key_of(each)) > 60 for each in twelve] == [True] * 4
    darker = Previews(tmp_path).read(shards.key_of(twelve[1])).max()
    assert darker < 80  # of 10 bits in a set of 12: a quarter as light

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data/previews").iterdir()}
    write_raw(tmp_path, [*twelve[:2], picture()], twelve[2:], [picture(4)], [deep(16, 5)])
    run(tmp_path, values)
    assert range_of(tmp_path)["white"] == 65535
    same = tmp_path / "data/previews/00002.tar"  # without deep greys, and so not made again
    assert same.stat().st_mtime_ns == before[same]
    shutil.copytree(tmp_path / "data/raw", tmp_path / "fresh/data/raw")
    run(tmp_path / "fresh", values)
    assert files_of(tmp_path / "fresh") == files_of(tmp_path)


def test_a_range_that_is_given_holds_for_every_deep_grey(tmp_path, values, in_process):
    floats = io.BytesIO()
    Image.fromarray(np.linspace(-50, 300, 1600, dtype=np.float32).reshape(40, 40)).save(
        floats, "TIFF"
    )
    contents = [floats.getvalue(), deep(8)]
    write_raw(tmp_path, contents)
    run(tmp_path, values)
    assert range_of(tmp_path)["white"] == 255
    run(tmp_path, values, grey_range=[0.0, 100.0])
    assert range_of(tmp_path) == {"black": 0.0, "white": 100.0, "given": True}
    shown = [Previews(tmp_path).read(shards.key_of(content)) for content in contents]
    for picture_, share in zip(shown, (200 / 350, 155 / 256), strict=True):
        assert (picture_ > 250).mean() == pytest.approx(share, abs=0.05)


def test_without_deep_greys_there_is_no_range(tmp_path, values, in_process):
    write_raw(tmp_path, [picture()])
    run(tmp_path, values)
    assert range_of(tmp_path) is None
