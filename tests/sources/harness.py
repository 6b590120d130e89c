"""What the tests of sources share: small pictures, and a run of scan and download."""

import io
import json

from PIL import Image

from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import Location, read_member
from darkroom.core.tables import INDEX, read_table
from stages import download, scan
from tests.harness import read_values
from tests.sources.make_archives import tar_of

LOCAL = {"allow_private_hosts": True, "timeout_s": 60, "retries": 1}


def picture(number):
    """Return a small PNG, another for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [(f"train/cat/{number}.png", picture(number)) for number in range(4)]


def params_for(*sources, **changes):
    values = read_values()
    values["download"] |= {"sources": list(sources), "max_failed_fraction": 0.9, **LOCAL, **changes}
    values["train"]["task"] = "none"  # with ratings, scan compares them with a scale
    return check_params(values, Params)


def run(root, *sources, **changes):
    """Scan, download, and return (the entries of scan, the index by name)."""
    params = params_for(*sources, **changes)
    scan.run(root, params)
    download.run(root, params)
    entries = json.loads((root / scan.TARGET).read_text())
    return entries, read_table(root / "data/raw/index.parquet", INDEX).set_index("name")


def contents(root, index):
    return {
        name: read_member(root / "data/raw", Location(row.shard, int(row.offset), int(row["size"])))
        for name, row in index[index["status"] == "kept"].iterrows()
    }


def lines(table):
    return "\n".join(table) + "\n"


def sample(key, number, **side):
    return [(f"{key}.png", picture(number)), *((f"{key}.{k}", v) for k, v in side.items())]


def write_shards(root, *samples):
    (root / "shards").mkdir(exist_ok=True)
    for number, members in enumerate(samples):
        (root / f"shards/{number:05d}.tar").write_bytes(tar_of(members))


LIST = {"kind": "list", "path": "urls.csv"}


def values_for(*sources, **changes):
    values = read_values()
    values["download"] |= {"sources": list(sources), "retries": 1, **changes}
    return values


def download_now(root, *sources, **changes):
    download.run(root, check_params(values_for(*sources, **changes), Params))
    return read_table(root / "data/raw/index.parquet", INDEX).set_index("name")


def raw_files(root):
    return {path.name: path.read_bytes() for path in (root / "data/raw").iterdir()}


def write_list(root, *urls, path="urls.csv"):
    header = "url\n" if path.endswith(".csv") else "# pictures\n\n"
    (root / path).write_text(header + "".join(f"{url}\n" for url in urls))
