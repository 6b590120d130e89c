"""Embed every decodable image with a network, by default the bundled copy-detection one.

Enters: `data/raw` (bytes), `data/clean/parts` (which images decode). Leaves:
`data/embeddings/<shard>.parquet` with one vector of unit length per key, and `metrics/embed.json`.
A shard whose members and network are unchanged is not embedded again. Another network
(`embed.network`, a name in keras.applications) is written for LiteRT first. An image is embedded
whether or not `clean` rejects it, so that a change of `clean.reject` costs nothing here.

Alone: `python -m stages.embed`.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from darkroom.core import shards, tables
from darkroom.core.files import write_metrics
from darkroom.core.params.embed import EmbedParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.section import StageParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.embedding.embed import (
    VERSION,
    EmbedSettings,
    embed_shard,
    network_file,
    prepare_network,
)
from darkroom.workers.mapper import map_shards

RAW = Path("data/raw")
PARTS = Path("data/clean/parts")
TARGET = Path("data/embeddings")
METRICS = Path("metrics/embed.json")
SCRATCH = Path(".darkroom/embed")


class Params(StageParams):
    """The sections of params.yaml that embed reads."""

    engine: EngineParams
    embed: EmbedParams


def read_members(root: Path) -> pd.DataFrame:
    """Return `key`, `shard`, `offset`, `size` of what `clean` could decode: 0.3 KB per image."""
    places = ["key", "shard", "offset", "size"]
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", columns=places))
    parts = tables.read_parts(root / PARTS, ["key", "fault"])
    faultless = parts.loc[parts["fault"].isna(), "key"]
    text = pa.large_string()  # pandas' own isin takes 0.4 KB per key
    decodes = pc.is_in(pa.array(stored["key"], text), value_set=pa.array(faultless, text))
    return stored[decodes.to_numpy(zero_copy_only=False)]


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
