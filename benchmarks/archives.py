"""How fast and in how much memory download takes archives in: solid tars and a zip of small files.

python -m benchmarks.archives [MEMBERS]
"""

import io
import lzma
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
RUN = """
import resource, sys, time
from pathlib import Path
from stages import download, scan
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
root, params = Path.cwd(), load_params(Path.cwd(), Params)
scan.run(root, params)
started = time.process_time()
download.run(root, params)
megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{time.process_time() - started:.1f} {megabytes:.0f}")
"""


def write_tar(path: Path, members: int) -> None:
    with lzma.open(path, "wb", preset=0) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for number in range(members):
            info = tarfile.TarInfo(f"folder/{number:08d}.jpg")
            content = b"\xff\xd8\xff" + number.to_bytes(8, "big") * 60
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            tar.members.clear()


def write_zip(path: Path, members: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            content = b"\xff\xd8\xff" + number.to_bytes(8, "big") * 60
            archive.writestr(f"folder/{number:08d}.jpg", content)


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 80_000
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for name, write in (("photos.tar.xz", write_tar), ("photos.zip", write_zip)):
        for members in (most // 4, most):
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder) / name, members)
                values["download"]["sources"] = [{"kind": "archive", "path": name}]
                (Path(folder) / "params.yaml").write_text(yaml.safe_dump(values))
                for again in ("first", "again"):
                    done = subprocess.run(
                        [sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True,
                        check=True, env={"PYTHONPATH": str(REPOSITORY)},
                    )  # fmt: skip
                    seconds, megabytes = map(float, done.stdout.split())
                    print(
                        f"{name}, {members:,} members, {again}: {members / seconds:,.0f}/s of"
                        f" processor time, {megabytes:.0f} MiB"
                    )


if __name__ == "__main__":
    main()
