"""The stage: kept representatives get a split; rejected copies do not."""

import json

from darkroom.core import tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from stages import split
from tests.labels.test_split import make_groups


def test_each_kept_image_gets_a_split_and_the_counts_add_up(tmp_path, values):
    groups = make_groups(40, label=["cat", "dog"] * 20)
    groups.loc[:3, "status"] = "rejected"
    tables.write_table(groups, tmp_path / split.SOURCE, tables.GROUPS)
    split.run(tmp_path, check_params(values, Params))
    table = tables.read_table(tmp_path / split.TARGET, tables.SPLIT)
    metrics = json.loads((tmp_path / split.METRICS).read_text())
    assert list(table["key"]) == list(groups["key"][4:])
    assert set(table["stratum"]) == {"cat", "dog"}
    assert table["split"].value_counts().to_dict() == {
        name: metrics[name]["images"] for name in ("train", "validation", "test")
    }
    assert metrics["groups"] == 36
