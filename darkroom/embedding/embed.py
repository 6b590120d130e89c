"""Embed shards of images, each in a worker process; write another network for LiteRT first."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.params.embed import EmbedParams
from darkroom.embedding.feature_map import export_application
from darkroom.embedding.network import BUNDLED, Embedded, Network
from darkroom.images import previews
from darkroom.images.decode import DecodeError, Pixels
from darkroom.images.grey_range import GreyRange
from darkroom.workers.mapper import ShardTask
from darkroom.workers.pool import new_pool

# Raise when the same network and bytes give other embeddings.
VERSION = f"5, previews {previews.VERSION}"
TIMEOUT_S = 60.0  # clean has decoded these images within its own, shorter limit


class EmbedSettings(NamedTuple):
    """What an embedding depends on, beside the image."""

    network: str
    layer: str | None
    pool_size: int
    digest: str  # of the weights, and so of embed.alpha; and of those of the local descriptors
    grey_range: GreyRange | None = None  # over which deep greys are shown, of a set that has any


def network_file(scratch: Path, network: str) -> Path:
    """Return where LiteRT finds the network: ours, or what `prepare_network` wrote."""
    return BUNDLED if network == "bundled" else scratch / "network.tflite"


def prepare_network(params: EmbedParams, scratch: Path) -> str:
    """Return the network's digest; one of keras.applications is built and written first.

    A process of its own does that: TensorFlow's memory goes with it. Raises UserError.
    """
    bundled = hashlib.sha256(BUNDLED.read_bytes()).hexdigest()
    if params.network == "bundled":
        return bundled
    with new_pool(1) as process:
        target = network_file(scratch, params.network)
        return process.submit(export_application, params, target).result() + bundled


load_network = cache(Network)  # once per worker process


def embed_shard(task: ShardTask) -> None:
    """Write the part of one shard; a second thread embeds while this one decodes.

    Both release the interpreter lock, so that one shard keeps two cores busy. What the last part
    has of these images is taken from there.
    """
    network = load_network(network_file(task.scratch, task.settings.network))
    describer = load_network(BUNDLED)  # whatever gives the vectors
    known = known_rows(task)
    keys: list[str] = []
    failed = dict(task.poisoned)
    embedded: list[Future[Embedded]] = []

    def embed(batch: list[tuple[Pixels, Pixels]]) -> Embedded:
        described = describer.embed([small for _, small in batch])
        if network is describer:
            return described
        return described._replace(vectors=network.embed([picture for picture, _ in batch]).vectors)

    todo = task.members[~task.members["key"].isin([*known.index, *failed])]
    places = [
        previews.Place(*row)
        for row in todo[[*previews.Place._fields]].itertuples(index=False, name=None)
    ]
    contents = shards.read_members(task.folder, (place.location for place in places))
    batch: list[tuple[Pixels, Pixels]] = []
    with ThreadPoolExecutor(1) as thread:
        for key, place, content in zip(todo["key"], places, contents, strict=True):
            try:
                with task.guard(key, TIMEOUT_S):
                    picture = previews.decode_picture(content, place.folder)
            except DecodeError as error:
                failed[key] = error.reason
                continue
            keys.append(key)
            small = describer.prepare(picture)
            batch.append((small if network is describer else network.prepare(picture), small))
            if len(batch) == describer.batch:
                embedded.append(thread.submit(embed, batch))
                batch = []
        embedded.append(thread.submit(embed, batch))
    rows = [row for part in embedded for row in zip(*part.result(), strict=True)]
    vectors, *described = zip(*rows, strict=True) if rows else [()] * len(Embedded._fields)
    fresh = pd.DataFrame({"key": keys, "embedding": pd.Series(list(vectors), dtype=object)})
    for name, column in zip(tables.DESCRIBED, described, strict=True):
        fresh[name] = [each.tobytes() for each in column]
    faults = pd.DataFrame({"key": list(failed), "reason": list(failed.values())}, dtype=object)
    frame = pd.concat([known.reset_index(), fresh, faults], ignore_index=True)
    frame = frame.astype(object).where(frame.notna(), None)
    tables.write_table(frame, task.part, tables.embeddings_schema(network.dimensions))


def known_rows(task: ShardTask) -> pd.DataFrame:
    """Return the rows, by key, of the members that the last part has."""
    columns = ["key", "reason", "embedding", *tables.DESCRIBED]
    if not task.reusable:
        return pd.DataFrame(columns=columns).set_index("key")
    try:
        part = tables.read_table(task.part, columns=columns)
    except UserError:  # broken
        return pd.DataFrame(columns=columns).set_index("key")
    return part[part["reason"].isna() & part["key"].isin(task.members["key"])].set_index("key")
