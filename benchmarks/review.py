"""What the review page waits for, with thousands of groups: `python -m benchmarks.review [GROUPS]`.

Makes tables of that many groups of copies, 3 images each, in a temporary folder, serves them, and
prints how long the first page, the last page, a search and a decision take, and the size of a page.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from aiohttp.test_utils import TestClient, TestServer

from darkroom.core import tables
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of
from darkroom.labels.decisions import REVIEW
from darkroom.review.history import History
from darkroom.review.server import ReviewSession

PARAMS = Path(__file__).parents[1] / "params.yaml"
SIZE = 3  # images of a group


def write_groups(root: Path, groups: int) -> None:
    """Write params.yaml and the tables of clean and dedupe, as those stages would; no pictures."""
    keys = np.array([key_of(str(n).encode()) for n in range(groups * SIZE)], object)
    best = np.repeat(keys[::SIZE], SIZE)
    kept = np.arange(len(keys)) % SIZE == 0
    names = [f"{n:05d}.png" for n in range(len(keys))]
    status, reason = np.where(kept, "kept", "rejected"), np.where(kept, None, "copy")
    rows = {"key": keys, "status": status, "reason": reason}
    index = pd.DataFrame({
        **dict.fromkeys(tables.INDEX.names), "source": "s", "name": names, "uri": names,
        "key": keys, "shard": "00000.tar", "offset": 512, "size": 9000, "status": "kept",
    })  # fmt: skip
    records = pd.DataFrame({**rows, "source": "s", "name": names, "representative": best})
    grouped = pd.DataFrame({
        **dict.fromkeys(tables.GROUPS.names), **rows, "copy_group": best, "family": best,
        "representative": best, "records": 1, "label_conflict": False,
    })  # fmt: skip
    ends = np.sort(np.stack([keys, best], 1)[~kept].astype(str), axis=1)
    numbers = [n for n in tables.PAIRS.names if n not in {"key_a", "key_b", "decided_by"}]
    pairs = pd.DataFrame({
        "key_a": ends[:, 0], "key_b": ends[:, 1], **dict.fromkeys(numbers, 0.7),
        "inliers": 20, "duplicate": True, "decided_by": "matches",
    })  # fmt: skip
    summary = pd.DataFrame({
        "key": keys, "status": "kept", "reason": None, "width": 96, "height": 96, "format": "PNG",
        "bytes": 9000, "blurry_score": 1.0,
    })  # fmt: skip
    shutil.copy(PARAMS, root / "params.yaml")
    for folder in ("raw", "dedupe", "clean"):
        (root / "data" / folder).mkdir(parents=True)
    data = root / "data"
    tables.write_table(index, data / "raw/index.parquet", tables.INDEX)
    tables.write_table(records, data / "dedupe/records.parquet", tables.RECORDS)
    tables.write_table(grouped, data / "dedupe/groups.parquet", tables.GROUPS)
    tables.write_table(pairs, data / "dedupe/pairs.parquet", tables.PAIRS, ["key_a", "key_b"])
    summary.to_parquet(data / "clean/summary.parquet")


async def measure(root: Path, groups: int) -> None:
    started = time.perf_counter()
    review = ReviewSession(root, load_params(root, Params), History(root / REVIEW))
    print(f"{groups} groups: reading the tables {time.perf_counter() - started:.2f} s")
    async with TestClient(TestServer(review.application())) as client:
        review.port = client.port
        headers = {
            "X-Token": review.token,
            "Host": f"127.0.0.1:{client.port}",
            "Origin": f"http://127.0.0.1:{client.port}",
        }
        chosen = key_of(b"1")
        asked = {
            "first page": ("GET", "/api/items", None),
            "last page": ("GET", f"/api/items?start={groups - 20}", None),
            "search": ("GET", f"/api/items?query={groups * SIZE - 1}", None),
            "decision": ("POST", "/api/decide", [{"key": chosen, "decision": "keep"}]),
        }
        for name, (method, path, rows) in asked.items():
            body = json.dumps({"decisions": rows}).encode() if rows else None
            started = time.perf_counter()
            async with client.request(method, path, data=body, headers=headers) as answer:
                content = await answer.read()
            spent = time.perf_counter() - started
            print(f"{name}: {spent * 1000:.0f} ms, {len(content) / 1000:.0f} KB, {answer.status}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", type=int, nargs="?", default=5_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_groups(Path(folder), given.groups)
        asyncio.run(measure(Path(folder), given.groups))


if __name__ == "__main__":
    main()
