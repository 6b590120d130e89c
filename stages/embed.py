"""Embed every decodable image with a network, by default the bundled copy-detection one.

Enters: `data/raw` (bytes), `data/clean/parts` (which images decode). Leaves:
`data/embeddings/<shard>.parquet` with one vector of unit length per key, and `metrics/embed.json`.
A shard whose members and network are unchanged is not embedded again. Another network
(`embed.network`, a name in keras.applications) is written for LiteRT first. An image is embedded
whether or not `clean` rejects it, so that a change of `clean.reject` costs nothing here.

Alone: `python -m stages.embed`.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from darkroom.core import shards, tables
from darkroom.core.files import write_metrics
from darkroom.core.params.embed import EmbedParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.section import StageParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.embedding.feature_map import export_application
from darkroom.embedding.network import BUNDLED, Network, network_digest
from darkroom.images.decode import Pixels
from darkroom.workers.mapper import ShardTask, guarded, map_shards
from darkroom.workers.pool import new_pool

RAW = Path("data/raw")
PARTS = Path("data/clean/parts")
TARGET = Path("data/embeddings")
METRICS = Path("metrics/embed.json")
SCRATCH = Path(".darkroom/embed")

VERSION = "2"  # raise when the same network and bytes give other embeddings
TIMEOUT_S = 60.0  # clean has decoded these images within its own, shorter limit


class Params(StageParams):
    """The sections of params.yaml that embed reads."""

    engine: EngineParams
    embed: EmbedParams


class EmbedSettings(NamedTuple):
    """What an embedding depends on, beside the image."""

    network: str
    layer: str | None
    pool_size: int
    digest: str  # of the weights, and so of embed.alpha


def network_file(scratch: Path, network: str) -> Path:
    """Return where LiteRT finds the network: ours, or what `prepare_network` wrote."""
    return BUNDLED if network == "bundled" else scratch / "network.tflite"


def prepare_network(params: EmbedParams, scratch: Path) -> str:
    """Return the network's digest; one of keras.applications is built and written first.

    A process of its own does that: TensorFlow's memory goes with it. Raises UserError.
    """
    if params.network == "bundled":
        return network_digest()
    with new_pool(1) as process:
        target = network_file(scratch, params.network)
        return process.submit(export_application, params, target).result()


@cache
def load_network(path: Path) -> Network:
    """Load the network once per worker process."""
    return Network(path)


def embed_shard(task: ShardTask) -> None:
    """Write the part of one shard; a second thread embeds while this one decodes.

    Both release the interpreter lock, so that one shard keeps two cores busy.
    """
    network = load_network(network_file(task.scratch, task.settings.network))
    keys: list[str] = []
    prepared: list[Pixels] = []
    embedded: list[Future[NDArray[np.float32]]] = []
    with ThreadPoolExecutor(1) as thread:
        for key, content in task.images():
            with guarded(task, key, TIMEOUT_S):
                prepared.append(network.prepare(content))
            keys.append(key)
            if len(prepared) == network.batch:
                embedded.append(thread.submit(network.embed, prepared))
                prepared = []
        embedded.append(thread.submit(network.embed, prepared))
    vectors = np.concatenate([batch.result() for batch in embedded])  # (n, d)
    frame = pd.DataFrame({"key": keys, "embedding": pd.Series(list(vectors), dtype=object)})
    tables.write_table(frame, task.part, tables.embeddings_schema(network.dimensions))


def decodable(stored: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    """Return the stored members that `clean` could decode."""
    faultless = parts.loc[parts["fault"].isna(), "key"]
    text = pa.large_string()  # pandas' own isin takes 0.4 KB per key
    found = pc.is_in(pa.array(stored["key"], text), value_set=pa.array(faultless, text))
    return stored[found.to_numpy(zero_copy_only=False)]


def read_members(root: Path) -> pd.DataFrame:
    """Return `key`, `shard`, `offset`, `size` of what is to be embedded: 0.3 KB per image."""
    places = ["key", "shard", "offset", "size"]
    index = tables.read_table(root / RAW / "index.parquet", columns=places)
    return decodable(shards.stored(index), tables.read_parts(root / PARTS, ["key", "fault"]))


def count(folder: Path) -> tuple[int, int | None]:
    """Return how many embeddings the parts hold, and of how many dimensions (None without any)."""
    files = [pq.ParquetFile(path) for path in sorted(folder.glob("*.parquet"))]
    dimensions = files[0].schema_arrow.field("embedding").type.list_size if files else None
    return sum(file.metadata.num_rows for file in files), dimensions


def run(root: Path, params: Params) -> None:
    """Embed what is new, drop what is gone."""
    embed, scratch = params.embed, root / SCRATCH
    digest = prepare_network(embed, scratch)
    settings = EmbedSettings(embed.network, embed.layer, embed.pool_size, digest)
    members = read_members(root)
    progress = Progress("embed", len(members))
    map_shards(
        embed_shard, members, root / RAW, root / TARGET, scratch,
        settings, VERSION, params.engine, progress,
    )  # fmt: skip
    embedded, dimensions = count(root / TARGET)
    progress.close(kept=embedded, rejected={}, failed=len(members) - embedded)
    write_metrics(
        root / METRICS,
        {
            "images": len(members),
            "embedded": embedded,
            "dimensions": dimensions,
            "network": {
                "name": embed.network,
                "bytes": network_file(scratch, embed.network).stat().st_size,
            },
        },
    )


if __name__ == "__main__":
    run_as_script(run, Params)
