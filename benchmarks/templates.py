"""Look-alikes made by code: pictures of one template that show different things are no copies.

    python -m benchmarks.templates [--only SET ...] [--frames FOLDER]

Every set is drawn here: signs, characters, plates, forms, a product under a fixed camera with and
without defects, QR-like and bar codes, charts, smooth pictures with nodules, icons, screenshots of
one program, one scene with another pose. Each picture has the name of what it shows, and a label
(for the product: good or the kind of defect). Further shots have their own noise, light, crop and
compression. `--frames` adds a folder of video frames `<clip>_<number>.jpg`: one clip, one set.

Printed per set, after the pipeline's own search, verification, decision and confirmation: how many
images are rejected for one that shows something else, without labels and with them
(`dedupe.labelled_apart: keep`), and of edits made of each picture (stored again, smaller, cropped,
brighter, with a caption) how many are still found.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from benchmarks.copies import caption, crop
from benchmarks.processes import REPOSITORY
from darkroom.core import tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.images.decode import Pixels
from stages import clean, dedupe, download, embed, scan

Generator = np.random.Generator
FRAMES = "frames"
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (200, 20, 30)


class Picture(NamedTuple):
    """One picture of a set."""

    pixels: Pixels
    shows: str  # pictures that show the same are copies or further shots of it
    label: str


def shot(image: Pixels, rng: Generator, noise: float = 4.0, shift: float = 0.02) -> Pixels:
    """Return another shot: a little moved, its own light and noise, stored as JPEG."""
    height, width = image.shape[:2]
    scale = 1 + rng.uniform(0, shift)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale)
    matrix[:, 2] += rng.uniform(-shift, shift, 2) * (width, height) / 2
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    lit = moved * rng.uniform(0.9, 1.08) + rng.normal(0, noise, image.shape)
    return jpeg(np.clip(lit, 0, 255).astype(np.uint8), int(rng.integers(75, 96)))


def jpeg(image: Pixels, quality: int) -> Pixels:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def canvas(height: int, width: int, colour: tuple[int, int, int] = WHITE) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def write(
    image: Pixels, text: str, x: float, y: float, height: float, thick: float = 0.12,
    colour: tuple[int, int, int] = BLACK, font: int = FONT, centre: bool = False,
) -> None:  # fmt: skip
    """Draw text of this height in pixels, its left or middle at x, its foot at y."""
    line = max(1, round(height * thick))
    scale = height / 21
    if centre:
        x -= cv2.getTextSize(text, font, scale, line)[0][0] / 2
    cv2.putText(image, text, (round(x), round(y)), font, scale, colour, line, cv2.LINE_AA)


def texture(
    rng: Generator, height: int, width: int, size: float, contrast: float
) -> NDArray[np.float64]:
    """Return smooth noise (height, width) whose grains are `size` px."""
    field = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), size)
    return np.asarray(field / field.std() * contrast)


def signs(rng: Generator) -> Iterator[Picture]:
    """Draw speed limits in eight classes, three shots each."""
    for speed in (20, 30, 50, 60, 70, 80, 100, 120):
        for side in (64, 128, 300):
            image = canvas(side, side, (120, 150, 180))
            cv2.circle(image, (side // 2, side // 2), round(side * 0.45), RED, -1, cv2.LINE_AA)
            cv2.circle(image, (side // 2, side // 2), round(side * 0.36), WHITE, -1, cv2.LINE_AA)
            size = side * (0.3 if speed < 100 else 0.22)
            write(image, str(speed), side / 2, side / 2 + size / 2, size, centre=True)
            yield Picture(shot(image, rng), f"{speed}", f"{speed}")


def characters(rng: Generator) -> Iterator[Picture]:
    for font in (FONT, cv2.FONT_HERSHEY_COMPLEX):
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
            image = canvas(96, 96)
            write(image, letter, 48, 72, 52, 0.1, font=font, centre=True)
            yield Picture(shot(image, rng), f"{letter}{font}", letter)


def plates(rng: Generator) -> Iterator[Picture]:
    for _ in range(30):
        letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVWXYZ"), 4))
        text = f"{letters[:2]} {letters[2:]} {rng.integers(100, 9999)}"
        image = canvas(110, 520)
        cv2.rectangle(image, (3, 3), (516, 106), BLACK, 3)
        image[6:104, 6:46] = (20, 40, 160)
        write(image, text, 62, 78, 48, 0.14)
        yield Picture(shot(image, rng), text, text)


def forms(rng: Generator) -> Iterator[Picture]:
    """Draw invoices that differ in their fields alone."""
    for number in range(16):
        image = canvas(1000, 720)
        write(image, "INVOICE", 60, 90, 34)
        write(image, "Example Trading Ltd, 12 Long Street, Anytown", 60, 130, 13, 0.1)
        for row, name in enumerate(("Number", "Date", "Customer", "Reference")):
            write(image, name, 60, 200 + 34 * row, 15, 0.1)
            write(image, str(rng.integers(10**5, 10**6)), 260, 200 + 34 * row, 15, 0.1)
        for row in range(12):
            y = 380 + 40 * row
            cv2.line(image, (60, y + 10), (660, y + 10), (150, 150, 150), 1)
            write(image, f"Item {row + 1}", 70, y, 14, 0.1)
            write(image, f"{rng.integers(1, 99)}", 400, y, 14, 0.1)
            write(image, f"{rng.integers(1, 999)}.{rng.integers(10, 99)}", 540, y, 14, 0.1)
        write(image, f"Total {rng.integers(1000, 9999)}.00", 440, 920, 20, 0.12)
        scale = (0.5, 0.8, 1.0)[number % 3]
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield Picture(np.asarray(small, np.uint8), str(number), str(number))


def product(rng: Generator) -> Iterator[Picture]:
    """Draw one product under a fixed camera: good, scratched, spotted, with a part missing."""
    height, width = 480, 640
    belt = 110 + texture(rng, height, width, 1.5, 6) + texture(rng, height, width, 30, 8)
    plain = np.repeat(np.clip(belt, 0, 255)[..., None], 3, 2).astype(np.uint8)
    cv2.ellipse(plain, (320, 240), (220, 150), 0, 0, 360, (170, 175, 180), -1, cv2.LINE_AA)
    cv2.ellipse(plain, (320, 240), (180, 115), 0, 0, 360, (150, 158, 165), 6, cv2.LINE_AA)
    write(plain, "MODEL 4", 320, 250, 26, 0.1, (60, 60, 70), centre=True)
    for kind, count in (("good", 16), ("scratch", 8), ("spot", 6), ("missing", 6)):
        for number in range(count):
            image = plain.copy()
            screws = [(200, 200), (440, 200), (200, 290), (440, 290)]
            gone = number % 4 if kind == "missing" else -1
            for at, screw in enumerate(screws):
                if at != gone:
                    cv2.circle(image, screw, 11, (70, 72, 75), -1, cv2.LINE_AA)
                    cv2.line(
                        image, (screw[0] - 7, screw[1]), (screw[0] + 7, screw[1]), (190,) * 3, 2
                    )
            x, y = (int(v) for v in rng.integers((200, 180), (420, 280)))
            if kind == "scratch":
                end = (x + int(rng.integers(20, 70)), y + int(rng.integers(-30, 30)))
                cv2.line(image, (x, y), end, (225, 228, 230), 2, cv2.LINE_AA)
            if kind == "spot":
                cv2.circle(image, (x, y), int(rng.integers(4, 9)), (90, 80, 70), -1, cv2.LINE_AA)
            shows = {"good": "good", "missing": f"missing {gone}"}.get(kind, f"{kind} {number}")
            yield Picture(shot(image, rng, 3.0, 0.0), shows, kind)


def codes(rng: Generator) -> Iterator[Picture]:
    """Draw square codes with finder patterns, of one size, with other modules."""
    for number in range(24):
        grid = rng.integers(0, 2, (29, 29)).astype(np.uint8)
        for top, left in ((0, 0), (0, 22), (22, 0)):
            grid[top : top + 7, left : left + 7] = 1
            grid[top + 1 : top + 6, left + 1 : left + 6] = 0
            grid[top + 2 : top + 5, left + 2 : left + 5] = 1
        module = (4, 7, 12)[number % 3]
        image = np.kron(np.pad(1 - grid, 4, constant_values=1) * 255, np.ones((module, module)))
        picture = np.repeat(image[..., None], 3, 2).astype(np.uint8)
        yield Picture(picture, str(number), str(number))


def bar_codes(rng: Generator) -> Iterator[Picture]:
    for number in range(20):
        bars = np.pad(rng.integers(0, 2, 95), 12)
        image = np.repeat((1 - bars) * 255, 4)[None].repeat(180, 0)
        picture = np.repeat(image[..., None], 3, 2).astype(np.uint8)
        picture[150:] = 255
        write(picture, " ".join(str(rng.integers(100, 999)) for _ in range(4)), 90, 174, 16)
        yield Picture(picture, str(number), str(number))


def charts(rng: Generator) -> Iterator[Picture]:
    """Draw bar and line charts on the same axes, with other values."""
    for number in range(24):
        image = canvas(400, 600)
        for row in range(6):
            cv2.line(image, (60, 60 + 55 * row), (570, 60 + 55 * row), (210, 210, 210), 1)
            write(image, str(100 - 20 * row), 20, 65 + 55 * row, 11, 0.1)
        write(image, "Sales by month", 200, 36, 18, 0.1)
        values = rng.uniform(0.2, 1.0, 12)
        tops = [(80 + 40 * at, round(335 - 270 * value)) for at, value in enumerate(values)]
        if number % 2:
            cv2.polylines(image, [np.array(tops, np.int32)], False, (30, 90, 180), 2, cv2.LINE_AA)
        else:
            for x, y in tops:
                cv2.rectangle(image, (x - 12, y), (x + 12, 335), (30, 90, 180), -1)
        yield Picture(image, str(number), str(number))


def smooth(rng: Generator) -> Iterator[Picture]:
    """Draw one smooth body, as an X-ray shows it, with and without small nodules."""
    y, x = np.mgrid[:512, :512] / 512
    body = 60 + 120 * np.exp(-(((x - 0.5) / 0.3) ** 2) - ((y - 0.55) / 0.4) ** 2)
    for side in (-1, 1):
        body -= 70 * np.exp(-(((x - 0.5 + side * 0.17) / 0.1) ** 2) - ((y - 0.5) / 0.22) ** 2)
    ribs = 8 * np.sin(2 * np.pi * (y * 11 + 2 * (x - 0.5) ** 2))
    for number in range(24):
        image = body + ribs
        for _ in range(number % 3):
            at, radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.008, 0.02)
            image = image + 28 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / radius**2)
        shows, label = ("none" if number % 3 == 0 else str(number)), str(number % 3 > 0)
        picture = np.repeat(np.clip(image, 0, 255)[..., None], 3, 2).astype(np.uint8)
        yield Picture(shot(picture, rng, 2.5, 0.0), shows, label)


def icons(rng: Generator) -> Iterator[Picture]:
    """Draw icons on one rounded tile."""
    for number in range(24):
        side = (64, 96, 128)[number % 3]
        image = canvas(side, side, (40, 110, 200))
        cv2.rectangle(image, (2, 2), (side - 3, side - 3), (20, 60, 120), 3)
        cv2.rectangle(image, (8, 8), (side - 9, side // 5), (90, 160, 230), -1)
        at = [tuple(int(v) for v in p) for p in rng.integers(side // 5, side * 4 // 5, (3, 2))]
        kind = number % 4
        if kind == 0:
            cv2.circle(image, at[0], side // 6, WHITE, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, at[0], at[1], WHITE, 3)
        elif kind == 2:
            cv2.arrowedLine(image, at[0], at[1], WHITE, 4, cv2.LINE_AA)
        else:
            cv2.fillPoly(image, [np.array(at, np.int32)], WHITE, cv2.LINE_AA)
        yield Picture(image, str(number), str(number))


def screenshots(rng: Generator) -> Iterator[Picture]:
    """Draw windows of one program with other contents."""
    for number in range(16):
        image = canvas(750, 1200, (246, 246, 248))
        image[:40], image[40:, :200] = (50, 54, 64), (228, 230, 235)
        write(image, "Mail", 16, 28, 16, 0.1, WHITE)
        for row, name in enumerate(("Inbox", "Drafts", "Sent", "Archive", "Spam")):
            write(image, name, 24, 84 + 36 * row, 14, 0.1)
        write(image, str(rng.integers(1, 99)), 150, 84, 14, 0.1, (30, 90, 200))
        for row in range(16 if number % 2 else 3):
            words = " ".join("".join(rng.choice(list("abcdeilmnorst"), 6)) for _ in range(5))
            write(image, words, 230, 84 + 40 * row, 14, 0.1)
            cv2.line(image, (220, 96 + 40 * row), (1180, 96 + 40 * row), (215, 216, 220), 1)
        yield Picture(image, str(number), str(number))


def scene(rng: Generator) -> Iterator[Picture]:
    """Draw a person in other poses before one background, taken by one camera."""
    height, width = 600, 800
    wall = sum(texture(rng, height, width, size, 12) for size in (1.0, 3.0, 10.0, 40.0)) + 130
    plain = np.repeat(np.clip(wall, 0, 255)[..., None], 3, 2).astype(np.uint8)
    for x in (90, 560):
        cv2.rectangle(plain, (x, 80), (x + 150, 300), (210, 200, 170), 8)
    for number in range(16):
        image = plain.copy()
        x = 380 + int(rng.integers(-25, 25))
        cv2.circle(image, (x, 250), 34, (90, 120, 180), -1, cv2.LINE_AA)
        cv2.rectangle(image, (x - 38, 290), (x + 38, 440), (60, 60, 150), -1)
        for side in (-1, 1):
            angle = rng.uniform(-1.2, 1.2)
            hand = (x + side * int(38 + 80 * np.cos(angle)), 310 + int(80 * np.sin(angle)))
            cv2.line(image, (x + side * 38, 310), hand, (90, 120, 180), 18, cv2.LINE_AA)
        yield Picture(shot(image, rng, 3.0, 0.0), str(number), str(number))


SETS: dict[str, Callable[[Generator], Iterator[Picture]]] = {
    "signs": signs, "characters": characters, "plates": plates, "forms": forms,
    "product": product, "codes": codes, "bar codes": bar_codes, "charts": charts,
    "smooth": smooth, "icons": icons, "screenshots": screenshots, "scene": scene,
}  # fmt: skip
EDITS: dict[str, Callable[[Pixels], Pixels]] = {
    "stored again": lambda image: jpeg(image, 60),
    "smaller": lambda image: np.asarray(
        cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8
    ),
    "cropped": lambda image: crop(image, 0.95),
    "brighter": lambda image: np.clip(image * 0.9 + 20.0, 0, 255).astype(np.uint8),
    "captioned": caption,
}
STAGES = (scan, download, clean, embed, dedupe)
EDITED = 4  # every so manieth picture of a set


def write_set(name: str, pictures: list[Picture], folder: Path) -> pd.DataFrame:
    """Write a set and edits of some of it as `label/number[_edit].png`; return what each shows."""
    rows = []
    for number, picture in enumerate(pictures):
        edits = EDITS if number % EDITED == 0 and name != FRAMES else {}
        for kind, edit in {"": lambda image: image, **edits}.items():
            path = folder / picture.label / f"{number:03d}_{kind.replace(' ', '-')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.ascontiguousarray(edit(picture.pixels))
            cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
            rows.append((path.relative_to(folder).as_posix(), number, picture.shows, kind))
    return pd.DataFrame(rows, columns=["name", "number", "shows", "edit"])


def dedupe_folder(folder: Path, project: Path, labelled: bool) -> pd.DataFrame:
    """Return RECORDS of a project that holds the files of a folder."""
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    source = {"kind": "folder", "name": "files", "path": str(folder.resolve())}
    values["download"]["sources"] = [source | ({"label_from": "parent"} if labelled else {})]
    values["engine"]["workers"] = 1  # starting more costs more than these few images
    (project / "data").mkdir(parents=True)
    shutil.copy(REPOSITORY / "data/review.csv", project / "data/review.csv")
    params = check_params(values, Params)
    for stage in STAGES:
        stage.run(project, params)
    return tables.read_table(project / "data/dedupe/records.parquet", tables.RECORDS)


def judge(truth: pd.DataFrame, records: pd.DataFrame) -> tuple[int, int, pd.Series]:
    """Return rejections, those for an image that shows something else, and which edits are found.

    An edit is found if one image represents it and what it was made of.
    """
    found = truth.merge(records, on="name", validate="1:1")
    shows = found.groupby("key")["shows"].first()
    gone = found[(found["status"] == "rejected") & found["representative"].notna()]
    wrong = gone["representative"].map(shows) != gone["shows"]
    best = found["representative"].fillna(found["key"])
    originals = best[found["edit"] == ""].set_axis(found.loc[found["edit"] == "", "number"])
    edits = found[found["edit"] != ""]
    same = edits["number"].map(originals) == best[edits.index]
    return len(gone), int(wrong.sum()), same.groupby(edits["edit"]).mean()


def frames(folder: Path) -> list[Picture]:
    """Return video frames `<clip>_<number>.jpg`; every one shows something else."""
    paths = sorted(folder.glob("*.jpg"))
    clip = [path.stem.rsplit("_", 1)[0] for path in paths]
    return [
        Picture(np.asarray(cv2.imread(str(path))[..., ::-1]), path.stem, label)
        for path, label in zip(paths, clip, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--frames", type=Path)
    given = parser.parse_args()
    sets = {name: list(SETS[name](np.random.default_rng(7))) for name in given.only}
    if given.frames:
        sets[FRAMES] = frames(given.frames)
    print(f"{'set':12} {'images':>6}  wrongly rejected, without and with labels; edits found")
    counts = np.zeros(3, int)
    for name, pictures in sets.items():
        with tempfile.TemporaryDirectory() as work:
            truth = write_set(name, pictures, Path(work) / "files")
            alike, labelled = (
                judge(truth, dedupe_folder(Path(work) / "files", Path(work) / str(labels), labels))
                for labels in (False, True)
            )
        counts += (len(truth), alike[1], labelled[1])
        edits = ", ".join(f"{kind} {share:.2f}" for kind, share in alike[2].items())
        wrong = f"{alike[1]} of {alike[0]}, {labelled[1]} of {labelled[0]}"
        print(f"{name:12} {len(truth):6}  {wrong}; {edits}", flush=True)
    print(f"all: {counts[1] / counts[0]:.4f} without labels, {counts[2] / counts[0]:.4f} with them")


if __name__ == "__main__":
    main()
