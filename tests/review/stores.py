"""Small data sets to review: raw images, and what clean, embed and dedupe make of them."""

import yaml

from darkroom.core import tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from stages import clean, dedupe, embed
from tests.harness import png, store_records, write_params

HOSTILE = '<img src=x onerror="document.title=1">.png'


def records_of(patches):
    """Return (name, content, labels): copies, some labelled apart, a leak, a conflict, bad ones."""
    cut = patches[0].shape[0] - 6
    train, test = {"official_split": "train"}, {"official_split": "test"}
    return [
        ("alpha.png", png(patches[0]), {"label": "cat"}),
        ("alpha copy.png", png(patches[0][6:cut, 6:cut]), {"label": "cat"}),
        ("beta.png", png(patches[30]), {"label": "dog"}),
        ("beta copy.png", png(patches[30][6:cut, 6:cut]), {"label": "dog"}),
        ("gamma 1.png", png(patches[60]), {"label": "cat"}),
        ("gamma 2.png", png(patches[60]), {"label": "dog"}),
        ("delta.png", png(patches[20]), {"label": "cat"}),
        ("delta as a dog.png", png(patches[20][6:cut, 6:cut]), {"label": "dog"}),
        ("leak/train.png", png(patches[50]), {"label": "cat", **train}),
        ("leak/test.png", png(patches[50][6:cut, 6:cut]), {"label": "cat", **test}),
        ("tiny.png", png(patches[45][:24, :24]), {"label": "cat"}),
        ("broken.png", png(patches[46])[:900], {"label": "cat"}),
        (HOSTILE, png(patches[40][:24, :24]), {"label": "<b>cat</b>"}),
    ]


def write_store(root, records):
    """Write one shard, its index and params.yaml; return the key of each name."""
    write_params(root, {"kind": "folder", "path": "photos"}, train__task="classification")
    return store_records(root, records)


def params_of(root):
    return check_params(yaml.safe_load((root / "params.yaml").read_text()), Params)


def develop(root, *stages):
    """Run stages (clean, embed and dedupe where none is named); return records by name."""
    for stage in stages or (clean, embed, dedupe):
        stage.run(root, params_of(root))
    return tables.read_table(root / "data/dedupe/records.parquet").set_index("name")
