"""Bad label tables: CSV, Parquet, JSON and AVA.txt that cannot be read, or cannot be meant so."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.cases import case
from tests.bad_input.folders import folder

AT = "params.yaml: download.sources: labels: "
PHOTOS = {"photos/a.jpg": "a", "photos/d/b.jpg": "b"}
COLUMN = (
    "the first line names the columns, and commas, semicolons or tabs separate them"
    "; where it has another name, say columns: {name: …} in download.sources"
)


def _table(id, says, content, files=None, warns=False, name="l.csv"):
    return case(
        id, says, folder("photos", labels=name), files={**PHOTOS, **(files or {}), name: content},
        warns=warns,
    )  # fmt: skip


def _parquet(**columns):
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


FORMS = (
    case("no table", f"{AT}l.csv is not there; tried ROOT/l.csv and ROOT/photos/l.csv",
         folder("photos", labels="l.csv"), files=PHOTOS),
    case("table is a folder", f"{AT}l.csv is not there; …", folder("photos", labels="l.csv"),
         files=PHOTOS, then=lambda root: (root / "l.csv").mkdir()),
    case("table at a private address", "params.yaml: download.sources: http://127.0.0.1:1/l.csv "
         "cannot be reached: private_address (…); …",
         folder("photos", labels="http://me:secret@127.0.0.1:1/l.csv?k=secret"), files=PHOTOS),
    case("table is an image", "…: not UTF-8 text (invalid start byte 0xff); save it as "
         "UTF-8", folder("photos", labels="a.jpg"), files={**PHOTOS, "photos/a.jpg": b"\xff\xd8"}),
    _table("table empty", "l.csv: expected a header and a row per image, got no rows: it is empty",
           ""),
    _table("header alone", "l.csv: expected a header and a row per image, got no rows below its "
           "header", "name,label\n"),
    _table("table in Latin-1", "l.csv:3: not UTF-8 text (invalid continuation byte 0xe9); save "
           "it as UTF-8", "name,label\na.jpg,x\nb.jpg,caf\xe9\n".encode("latin-1")),
    _table("spreadsheet", "l.csv: expected a table, got a spreadsheet or a zip; save it as CSV",
           b"PK\3\4\x14\0\6\0"),
    _table("quotation mark left open", "l.csv:2: not valid CSV: unexpected end of data; correct "
           "that line", 'name,label\na.jpg,"x\nb.jpg,y\n'),
    _table("quotation mark within", "l.csv:2: not valid CSV: ',' expected after '\"'; correct that "
           "line", 'name,label\na.jpg,"x"y\n'),
    _table("cell of 200,000 letters", "l.csv:2: not valid CSV: field larger than field limit "
           "(131072); correct that line", f"name,label\na.jpg,{'x' * 200_000}\n"),
    _table("too many cells", "l.csv:2: expected 2 cells, got 4; put cells that hold the separator "
           "in quotation marks", "name,label\na.jpg,x,y,z\n"),
    _table("Parquet cut off", "l.parquet: not a whole Parquet file: …; write it again",
           _parquet(name=["a.jpg"])[:90], name="l.parquet"),
    _table("JSON cut off", "l.json: not valid JSON: …; correct it", '[{"image_id": "a"',
           name="l.json"),
    _table("JSON of another kind", 'l.json: expected a list as [{"image_id": "1", "label": [votes '
           'per bin]}]; save the table so, or as CSV', '{"a.jpg": 5}', name="l.json"),
    _table("JSON too deep", "l.json: not valid JSON: …; correct it", "[" * 100_000, name="l.json"),
    _table("JSON with votes in votes", "l.json: item 1: label: expected counts of votes, got "
           "[[1], 2]", '[{"image_id": "a", "label": [[1], 2]}]', name="l.json"),
    _table("AVA.txt with a short line", "l.txt:2: expected 15 numbers as in AVA.txt (index, image "
           "id, ten counts, two tags, challenge); got '2 7'", f"1 5{' 1' * 13}\n2 7\n",
           name="l.txt"),
)  # fmt: skip

COLUMNS = (
    _table("other separator", f"l.csv: expected a column `name`; got name|label; {COLUMN}",
           "name|label\na.jpg|x\n"),
    _table("no header", f"l.csv: expected a column `name`; got a.jpg, cat; {COLUMN}",
           "a.jpg,cat\nb.jpg,dog\n"),
    _table("no name column", f"l.csv: expected a column `name`; got file, label; {COLUMN}",
           "file,label\na.jpg,x\n"),
    _table("no column that labels", "l.csv: expected a column label, mean, rating_1 …, group or "
           "split; got name, lable", "name,lable\na.jpg,x\n"),
    _table("column unknown", "l.csv: columns not used: colour", "name,label,colour\na.jpg,x,red\n",
           warns=True),
    _table("column twice", "l.csv:1: the column label comes twice; rename one",
           "name,label,label\na.jpg,x,y\n"),
    _table("gap in the ratings", "l.csv: expected rating_1, rating_2, … without gaps; got rating_1,"
           " rating_3", "name,rating_1,rating_3\na.jpg,1,2\n"),
    _table("ratings from zero", "l.csv: expected rating_1, rating_2, … without gaps; got rating_0,"
           " rating_1", "name,rating_0,rating_1\na.jpg,1,2\n"),
    _table("mean and ratings", "l.csv: give either rating_1 … rating_n or mean and std, not both",
           "name,mean,rating_1\na.jpg,5,1\n"),
    _table("spread without mean", "l.csv: expected a column `mean` beside `std`; got name, std",
           "name,std\na.jpg,1\n"),
)  # fmt: skip

VOTES = "l.csv:2: rating_…: expected counts of votes, 0 to 9e+15; got "
CELLS = (
    _table("negative votes", f"{VOTES}[-1, 2]", "name,rating_1,rating_2\na.jpg,-1,2\n"),
    _table("half a vote", "l.csv:2: column rating_1: expected counts of votes, got 0.5; for shares "
           "or scores give mean and std instead", "name,rating_1,rating_2\na.jpg,0.5,2\n"),
    _table("votes without end", f"{VOTES}[100000…, 2]", "name,rating_1,rating_2\na.jpg,1e30,2\n"),
    _table("words for votes", "l.csv:2: column rating_1: expected a number, got 'many'",
           "name,rating_1,rating_2\na.jpg,many,2\n"),
    _table("decimal comma", "l.csv:2: column mean: expected a number, got '5,5'",
           "name;mean\na.jpg;5,5\n"),
    _table("mean not a number", "l.csv:3: column mean: expected a number, got 'nan'",
           "name,mean\nd/b.jpg,4\na.jpg,nan\n"),
    _table("mean infinite", "l.csv:2: column mean: expected a number, got '-inf'",
           "name,mean\na.jpg,-inf\n"),
    _table("negative spread", "l.csv:2: column std: expected 0 or more, got -1",
           "name,mean,std\na.jpg,5,-1\n"),
    _table("NUL in a label", "l.csv:2: column label: expected at most 500 printable characters, "
           "got 3: 'x\\x00y'; correct that cell", "name,label\na.jpg,x\0y\n"),
    _table("terminal's control in a label", "l.csv:2: column label: … got 8: '\\x1b[31mred'; …",
           "name,label\na.jpg,\x1b[31mred\n"),
    _table("essay for a label", "l.csv:2: column label: expected at most 500 printable characters,"
           " got 600: …", f"name,label\na.jpg,{'x' * 600}\n"),
)  # fmt: skip

NAMES = (
    _table("two rows disagree", "l.csv: two rows disagree about a.jpg, the 1. and the 2. of the "
           "table; keep one of them", "name,label\na.jpg,x\na.jpg,y\n"),
    _table("name of several files", "l.csv: 'b.jpg' is the name of several files; give its path "
           "below the source", "name,label\nb.jpg,x\n", {"photos/e/b.jpg": "c"}),
    _table("no name matches", "l.csv: none of its 1 names is a file of the source; it names 'z.jpg'"
           ", the source has 'a.jpg', 'd/b.jpg'. Names are paths relative to the source, or file "
           "names.", "name,label\nz.jpg,x\n"),
    _table("some names match", "l.csv: 1 of 2 names are no files of the source and are passed over:"
           " 'z.jpg'", "name,label\na.jpg,x\nz.jpg,x\n", warns=True),
    _table("names that escape", "l.csv: 1 of 2 names are no files of the source and are passed "
           "over: '../../etc/passwd'", "name,label\n../../etc/passwd,x\na.jpg,y\n", warns=True),
    _table("empty name", "l.csv: 1 of 2 names are no files of the source and are passed over: ''",
           "name,label\n,x\na.jpg,y\n", warns=True),
    _table("files without label", "l.csv: 1 of 2 files have no label", "name,label\na.jpg,x\n",
           warns=True),
)  # fmt: skip

CASES = (*FORMS, *COLUMNS, *CELLS, *NAMES)
