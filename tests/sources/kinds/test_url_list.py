"""Lists of URLs: their forms."""

import pandas as pd

from tests.sources.harness import picture, run


def test_a_list_may_be_parquet(tmp_path, server):
    server.files = {"/a.png": picture(1)}
    pd.DataFrame({"url": [f"{server.url}/a.png"], "label": ["x"]}).to_parquet(tmp_path / "list")
    _, index = run(tmp_path, {"kind": "list", "path": "list"})
    assert list(index["label"]) == ["x"]
