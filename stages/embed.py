"""Embed every decodable image with the copy-detection network.

Enters: `data/raw` (bytes), `data/clean/parts` (which images decode). Leaves:
`data/embeddings/<shard>.parquet` with one vector of unit length per key, and `metrics/embed.json`.
A shard whose members and network are unchanged is not embedded again. An image is embedded whether
or not `clean` rejects it, so that a change of `clean.reject` costs nothing here.

Alone: `python -m stages.embed`.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.embedding.network import BATCH, BUNDLED, Network, network_digest
from stages.lib import shards, tables
from stages.lib.engine import ShardTask, guarded, map_shards
from stages.lib.files import write_metrics
from stages.lib.params import Params
from stages.lib.pixels import Pixels
from stages.lib.progress import Progress
from stages.lib.script import run_as_script

RAW = Path("data/raw")
PARTS = Path("data/clean/parts")
TARGET = Path("data/embeddings")
METRICS = Path("metrics/embed.json")
SCRATCH = Path(".darkroom/embed")

VERSION = "1"  # raise when the same network and bytes give other embeddings
TIMEOUT_S = 60.0  # clean has decoded these images within its own, shorter limit


class EmbedSettings(NamedTuple):
    """What an embedding depends on, beside the image."""

    network: str  # digest


@cache
def load_network() -> Network:
    """Load the network once per worker process."""
    return Network()


def embed_shard(task: ShardTask) -> None:
    """Write the part of one shard."""
    network = load_network()
    keys: list[str] = []
    vectors: list[NDArray[np.float32]] = []
    prepared: list[Pixels] = []
    for key, content in task.images():
        with guarded(task, key, TIMEOUT_S):
            prepared.append(network.prepare(content))
        keys.append(key)
        if len(prepared) == BATCH:
            vectors.extend(network.embed(prepared))
            prepared.clear()
    vectors.extend(network.embed(prepared))
    frame = pd.DataFrame({"key": keys, "embedding": pd.Series(vectors, dtype=object)})
    tables.write_table(frame, task.part, tables.embeddings_schema(network.dimensions))


def decodable(stored: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    """Return the stored members that `clean` could decode."""
    faultless = parts.loc[parts["fault"].isna(), "key"]
    return stored[stored["key"].isin(set(faultless))]


def run(root: Path, params: Params) -> None:
    """Embed what is new, drop what is gone."""
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    members = decodable(stored, tables.read_parts(root / PARTS, ["key", "fault"]))
    progress = Progress("embed", len(members))
    settings = EmbedSettings(network_digest())
    map_shards(
        embed_shard, members, root / RAW, root / TARGET, root / SCRATCH,
        settings, VERSION, params.engine, progress,
    )  # fmt: skip
    embedded = len(tables.read_parts(root / TARGET, ["key"]))
    network = load_network()
    progress.close(kept=embedded, rejected={}, failed=len(members) - embedded)
    write_metrics(
        root / METRICS,
        {
            "images": len(members),
            "embedded": embedded,
            "dimensions": network.dimensions,
            "network": {"name": params.embed.network, "bytes": BUNDLED.stat().st_size},
        },
    )


if __name__ == "__main__":
    run_as_script(run)
