"""Small data sets to review: raw images, and what clean, embed and dedupe make of them."""

import cv2
import pandas as pd
import yaml

from stages import clean, dedupe, embed
from stages.lib import shards, tables
from stages.lib.params import check_params
from tests.harness import write_params

HOSTILE = '<img src=x onerror="document.title=1">.png'


def png(image):
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def records_of(patches):
    """Return (name, content, labels): copies, a leak, a conflict, two tiny and a broken image."""
    cut = patches[0].shape[0] - 6
    train, test = {"official_split": "train"}, {"official_split": "test"}
    return [
        ("alpha.png", png(patches[0]), {"label": "cat"}),
        ("alpha copy.png", png(patches[0][6:cut, 6:cut]), {"label": "cat"}),
        ("beta.png", png(patches[30]), {"label": "dog"}),
        ("beta copy.png", png(patches[30][6:cut, 6:cut]), {"label": "dog"}),
        ("gamma 1.png", png(patches[60]), {"label": "cat"}),
        ("gamma 2.png", png(patches[60]), {"label": "dog"}),
        ("leak/train.png", png(patches[50]), {"label": "cat", **train}),
        ("leak/test.png", png(patches[50][6:cut, 6:cut]), {"label": "cat", **test}),
        ("tiny.png", png(patches[45][:24, :24]), {"label": "cat"}),
        ("broken.png", png(patches[46])[:900], {"label": "cat"}),
        (HOSTILE, png(patches[40][:24, :24]), {"label": "<b>cat</b>"}),
    ]


def write_store(root, records):
    """Write one shard, its index and params.yaml; return the key of each name."""
    write_params(root, {"kind": "folder", "path": "photos"}, train__task="classification")
    contents = {shards.key_of(content): content for _, content, _ in records}
    names = [f"{key}.png" for key in contents]
    raw = root / "data/raw"
    places = shards.write_shard(raw / "00000.tar", zip(names, contents.values(), strict=True))
    place = dict(zip(contents, places, strict=True))
    rows = [
        {
            **dict.fromkeys(tables.INDEX.names),
            **{"source": "s", "name": name, "uri": name, "status": "kept"},
            **{"key": (key := shards.key_of(content)), **place[key]._asdict()},
            **labels,
        }
        for name, content, labels in records
    ]
    tables.write_table(pd.DataFrame(rows), raw / "index.parquet", tables.INDEX, ["source", "name"])
    return {row["name"]: row["key"] for row in rows}


def params_of(root):
    return check_params(yaml.safe_load((root / "params.yaml").read_text()))


def develop(root, *stages):
    """Run stages (clean, embed and dedupe where none is named); return records by name."""
    for stage in stages or (clean, embed, dedupe):
        stage.run(root, params_of(root))
    return tables.read_table(root / "data/dedupe/records.parquet").set_index("name")
