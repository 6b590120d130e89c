"""What may not be read or written: each case names the path that is closed to the user."""

from tests.bad_input.archives import GOOD, TAR
from tests.bad_input.cases import case
from tests.bad_input.folders import AT, A, folder

ACCESS = "Permission denied; give yourself access to it, and to the folder that it lies in"
TABLE = {"l.csv": "name,label\na.jpg,x\n"}

CASES = (
    ("params.yaml", case("params.yaml closed", f"ROOT/params.yaml: {ACCESS}", files=A)),
    ("photos", case("folder closed", "no permission to read ROOT/photos; give yourself read access",
                    files=A)),
    ("photos/d", case("folder within closed", "no permission to read ROOT/photos/d; give yourself "
                      "read access", files={**A, "photos/d/b.jpg": "b"})),
    ("photos/a.jpg", case("every file closed", "download: 1 of 1 images failed, …\n       1  "
                          "permission_denied (you may not read the file), as photos:a.jpg\n…",
                          files=A)),
    ("l.csv", case("table closed", f"cannot read ROOT/l.csv: {ACCESS}",
                   folder("photos", labels="l.csv"), files={**A, **TABLE})),
    ("u.txt", case("list closed", f"…cannot read ROOT/u.txt: {ACCESS}",
                   {"kind": "list", "path": "u.txt"}, files={"u.txt": "http://x.org/a.jpg"})),
    ("x.zip", case("archive closed", f"{AT}x.zip: cannot read ROOT/x.zip: {ACCESS}",
                   {"kind": "archive", "path": "x.zip"}, files={"x.zip": GOOD})),
    ("w.tar", case("shard closed", f"{AT}w.tar: cannot read ROOT/w.tar: {ACCESS}",
                   {"kind": "webdataset", "path": "w.tar"}, files={"w.tar": TAR})),
    ("data", case("data closed", f"ROOT/data/sources.json: {ACCESS}",
                  files={**A, "data/sources.json": "{}"})),
    (".darkroom", case("scratch closed", f"ROOT/.darkroom/download/…: {ACCESS}",
                       files={**A, ".darkroom/scan/x": ""})),
)  # fmt: skip
