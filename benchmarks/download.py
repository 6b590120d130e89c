"""How fast download is, beside img2dataset on the same URLs of one local server.

    python -m benchmarks.download [--images 20000] [--rounds 2] [--peer PATH/TO/img2dataset]

The server is a process of its own that keeps every file in memory: JPEGs of about 60 KB, cut from
the photographs of the sample, each made unique by a few bytes after its end. Both programs run
alternately, as their users start them: ours with params.yaml as it is (8 connections to one host),
img2dataset with one process per core and 64 threads each, into WebDataset shards, once keeping the
bytes (`--disable_all_reencoding`) and once as by default (decoded, resized to 256 px, encoded).

Printed: images per second by the clock, start included; the ratio to ours; processor time per
image, which other programs on the machine disturb less; peak memory over all processes (PSS, so
that what they share counts once); bytes that the server sent over bytes of the files; the most that
lay on disk over bytes of the files. Ours is checked: every file is intact.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq
import yaml

from darkroom.sources.sample.photographs import PHOTOGRAPHS, read

REPOSITORY = Path(__file__).parents[1]
BASES = 200
PER_SHARD = 1000


def make_bases() -> list[bytes]:
    """Return JPEGs of 640 × 480, cut from photographs at fixed random places."""
    random = np.random.default_rng(17)
    photographs = [read(photograph)[:, :, ::-1] for photograph in PHOTOGRAPHS]
    bases = []
    for number in range(BASES):
        image = photographs[number % len(photographs)]
        height, width = (int(random.integers(side // 3, side)) for side in image.shape[:2])
        top, left = random.integers(0, (image.shape[0] - height, image.shape[1] - width))
        cut = np.ascontiguousarray(image[top : top + height, left : left + width])
        cut = cv2.resize(cut, (640, 480), interpolation=cv2.INTER_AREA)
        bases.append(cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return bases


def content(bases: list[bytes], number: int) -> bytes:
    return bases[number % BASES] + b"%08d" % number


class Host(asyncio.Protocol):
    """HTTP just as far as two clients need it, and quick."""

    bases: list[bytes]
    sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start a connection."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            request, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.answer(request)

    def answer(self, request: bytes) -> None:
        """Send a file, or how much was sent so far."""
        path = request.split(b" ", 2)[1].decode()
        if path == "/sent":
            body, kind = b"%d" % Host.sent, "text/plain"
        else:
            body, kind = content(Host.bases, int(path[1:-4])), "image/jpeg"
        close = b"connection: close" in request.lower()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f'ETag: "{len(body)}"\r\nConnection: {"close" if close else "keep-alive"}\r\n\r\n'
        ).encode()
        Host.sent += len(head) + len(body)
        self.transport.write(head + body)
        if close:
            self.transport.close()


def serve(port: "multiprocessing.Queue[int]") -> None:
    async def main() -> None:
        Host.bases = make_bases()
        server = await asyncio.get_running_loop().create_server(Host, "127.0.0.1", 0, backlog=1024)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def sent(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sent") as response:
        return int(response.read())


class Result(NamedTuple):
    """What one run cost."""

    seconds: float
    processor: float  # seconds, of all cores together
    memory: int  # bytes, at most, over all processes
    disk: int  # bytes, at most
    sent: int


def session_memory(session: int) -> int:
    """Return the bytes that the processes of a session hold, shared ones once."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                rollup = (folder / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        except OSError:
            continue
    return total * 1024


def bytes_below(folder: Path) -> int:
    """Return the bytes on disk; a file of two names counts once."""
    sizes = {}
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                status = (Path(top) / name).lstat()
            except FileNotFoundError:
                continue
            sizes[status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def measure(command: list[str], folder: Path, port: int, environment: dict[str, str]) -> Result:
    """Run a command to its end in `folder`, watching memory and disk four times a second."""
    before, started, spent = sent(port), time.perf_counter(), processor_seconds()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        most, over = [0, 0], threading.Event()

        def watch() -> None:
            while not over.wait(0.25):
                most[0] = max(most[0], session_memory(process.pid))
                most[1] = max(most[1], bytes_below(folder))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - started
        over.set()
        watcher.join()
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}:\n{(folder / 'log.txt').read_text()}")
    return Result(seconds, processor_seconds() - spent, *most, sent(port) - before)


def processor_seconds() -> float:
    """Return what the programs that have ended cost so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(folder: Path, port: int) -> Result:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["download"]["sources"] = [{"kind": "list", "path": "../urls.txt"}]
    params["download"]["allow_private_hosts"] = True
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", "stages.download"]
    return measure(command, folder, port, {"PYTHONPATH": str(REPOSITORY)})


def theirs(peer: str, folder: Path, port: int, *options: str) -> Result:
    command = [
        peer, "--url_list", "../urls.txt", "--input_format", "txt", "--output_format", "webdataset",
        "--output_folder", "out", "--number_sample_per_shard", str(PER_SHARD),
        "--processes_count", str(os.cpu_count()), "--thread_count", "64", *options,
    ]  # fmt: skip
    return measure(command, folder, port, {"NO_ALBUMENTATIONS_UPDATE": "1"})


def check(folder: Path, bases: list[bytes], images: int) -> None:
    """Exit unless every file arrived intact."""
    keys = set(pq.read_table(folder / "data/raw/index.parquet")["key"].to_pylist())
    expected = {hashlib.sha256(content(bases, n)).hexdigest()[:32] for n in range(images)}
    metrics = json.loads((folder / "metrics/download.json").read_text())
    if keys != expected or metrics["failed"]:
        sys.exit(f"not every file arrived: {metrics}")


def count_theirs(folder: Path) -> int:
    stats = (json.loads(path.read_text()) for path in (folder / "out").glob("*_stats.json"))
    return sum(each["successes"] for each in stats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peer", help="the img2dataset command of an environment of its own")
    given = parser.parse_args()
    queue: multiprocessing.Queue[int] = multiprocessing.Queue()
    host = multiprocessing.Process(target=serve, args=(queue,), daemon=True)
    host.start()
    port, bases = queue.get(), make_bases()
    size = sum(len(content(bases, number)) for number in range(given.images))
    print(f"{given.images} files, {size / given.images / 1000:.1f} KB on average; load "
          f"{os.getloadavg()[0]:.2f}", flush=True)  # fmt: skip
    programs = {"ours": lambda folder: ours(folder, port)}
    if given.peer:
        keep = ("--resize_mode", "no", "--disable_all_reencoding", "True")
        programs["img2dataset, bytes kept"] = lambda f: theirs(given.peer, f, port, *keep)
        programs["img2dataset, default"] = lambda f: theirs(given.peer, f, port)
    with tempfile.TemporaryDirectory() as scratch:
        urls = (f"http://127.0.0.1:{port}/{number}.jpg\n" for number in range(given.images))
        (Path(scratch) / "urls.txt").write_text("".join(urls))
        for _ in range(given.rounds):
            own = 0.0
            for name, program in programs.items():
                folder = Path(scratch) / "run"
                folder.mkdir()
                result = program(folder)
                if name == "ours":
                    check(folder, bases, given.images)
                    own, arrived = result.seconds, given.images
                else:
                    arrived = count_theirs(folder)
                shutil.rmtree(folder)
                print(
                    f"{name:24} {given.images / result.seconds:7.0f} images/s "
                    f"({result.seconds / own:5.2f} × our time)  "
                    f"{1000 * result.processor / given.images:5.2f} ms of processor  "
                    f"{result.memory / 2**20:6.0f} MiB  "
                    f"sent {result.sent / size:.3f}  disk {result.disk / size:.2f}  "
                    f"{arrived} arrived",
                    flush=True,
                )
    host.terminate()


if __name__ == "__main__":
    main()
