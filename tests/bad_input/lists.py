"""Bad lists of URLs: none, no text, no column; and URLs that are never asked for."""

from tests.bad_input.cases import Rows, case

AT = "params.yaml: download.sources: path: "
TEXT = {"kind": "list", "path": "u.txt"}
TABLE = {"kind": "list", "path": "u.csv"}
COLUMN = (
    "the first line names the columns, and commas, semicolons or tabs separate them"
    "; where it has another name, say url_column: … in download.sources"
)

CASES = (
    case("list absent", f"{AT}u.txt: there is no file ROOT/u.txt; correct the path", TEXT),
    case("list is a folder", f"{AT}photos: ROOT/photos is a folder; expected a file (or use kind: "
         "folder)", {"kind": "list", "path": "photos"}),
    case("list empty", f"{AT}u.txt: no URL in ROOT/u.txt; expected one per line", TEXT,
         files={"u.txt": ""}),
    case("comments alone", f"{AT}u.txt: no URL in ROOT/u.txt; …", TEXT,
         files={"u.txt": "# one\n\n  # two\n"}),
    case("no URL in the column", f"{AT}u.csv: no URL in ROOT/u.csv; …", TABLE,
         files={"u.csv": "url,label\n,x\n"}),
    case("no URL column", f"ROOT/u.csv: expected a column `url`; got link; {COLUMN}", TABLE,
         files={"u.csv": "link\nhttp://x.org/a.jpg\n"}),
    case("URLs without a header", "ROOT/u.csv: expected a column `url`; got http://x.org/a.jpg; …",
         TABLE, files={"u.csv": "http://x.org/a.jpg\nhttp://x.org/b.jpg\n"}),
    case("list with a header alone", "ROOT/u.csv: expected a header and a row per image, got no "
         "rows below its header", TABLE, files={"u.csv": "url\n"}),
    case("list with bad votes", "ROOT/u.csv:2: rating_…: expected counts of votes, 0 to "
         "9e+15; got [-1]", TABLE, files={"u.csv": "url,rating_1\nhttp://x.org/a.jpg,-1\n"}),
    case("list of bytes", "ROOT/u.txt:1: not UTF-8 text (invalid start byte 0xff); save it as "
         "UTF-8", TEXT, files={"u.txt": b"\xff\xd8\xff\xe0"}),
    case("list as a broken Parquet", "ROOT/u.pq: not a whole Parquet file: …; write it again",
         {"kind": "list", "path": "u.pq"}, files={"u.pq": b"PAR1xxxx"}),
    case("list at a private address", "…: http://127.0.0.1:1/u.csv cannot be reached: "
         "private_address (…); correct the URL, or the access to it",
         {"kind": "list", "path": "http://me:secret@127.0.0.1:1/u.csv?k=secret"}),
    case("no column of checksums", "ROOT/u.csv: expected a column `md5` (download.sources: "
         "checksum_column); got url", {**TABLE, "checksum_column": "md5"},
         files={"u.csv": "url\nhttp://x.org/a.jpg\n"}),
    case("checksum too short", "ROOT/u.csv:2: column md5: expected an md5, sha1, sha256 or sha512 "
         "in hexadecimal digits (32, 40, 64 or 128) or base64; got 'abc'; correct or empty …",
         {**TABLE, "checksum_column": "md5"}, files={"u.csv": "url,md5\nhttp://x.org/a.jpg,abc\n"}),
    case("checksum of another kind", "ROOT/u.csv:2: column md5: expected an md5, …; got "
         "'md5:0123456789012345678901234567890123456789'; correct or empty the cell",
         {**TABLE, "checksum_column": "md5"},
         files={"u.csv": f"url,md5\nhttp://x.org/a.jpg,md5:{'0123456789' * 4}\n"}),
    case("every URL private", "download: 2 of 2 images failed, more than download."
         "max_failed_fraction = 0.5 allows. The commonest reasons:\n       2  private_address "
         "(a private address; see download.allow_private_hosts), as u.txt:http://127.0.0.1/a.jpg\n…",
         TEXT, files={"u.txt": "http://127.0.0.1/a.jpg\nhttp://10.0.0.1/b.jpg\n"}),
    case("nobody listens", "download: 1 of 1 images failed, …\n       1  connection_failed (the "
         "server refused or broke the connection), as u.txt:http://127.0.0.1:1/a.jpg\n…",
         TEXT, files={"u.txt": "http://127.0.0.1:1/a.jpg\n"}, download__allow_private_hosts=True),
)  # fmt: skip

URLS = {  # the URL: the name of its record, in which … is a digest, and the reason
    "ftp://x.org/a.jpg": ("ftp://x.org/a.jpg", "bad_url"),
    "file:///etc/passwd": ("invalid-url#…", "bad_url"),
    "javascript:alert(1)": ("invalid-url#…", "bad_url"),
    "data:image/png;base64,aaaa": ("invalid-url#…", "bad_url"),
    "photos/a.jpg": ("invalid-url#…", "bad_url"),
    "www.x.org/a.jpg": ("invalid-url#…", "bad_url"),
    "http://": ("invalid-url#…", "bad_url"),
    "http:///a.jpg": ("invalid-url#…", "bad_url"),
    "http://x.org:99999/a.jpg": ("invalid-url#…", "bad_url"),
    "http://x.org:port/a.jpg": ("invalid-url#…", "bad_url"),
    "http://[::1/a.jpg": ("invalid-url#…", "bad_url"),
    "http://localhost/a.jpg": ("http://localhost/a.jpg", "private_address"),
    "http://127.0.0.1/a.jpg": ("http://127.0.0.1/a.jpg", "private_address"),
    "http://10.1.2.3/a.jpg": ("http://10.1.2.3/a.jpg", "private_address"),
    "http://169.254.169.254/a": ("http://169.254.169.254/a", "private_address"),
    "http://[::1]/a.jpg": ("http://[::1]/a.jpg", "private_address"),
    "http://[::ffff:127.0.0.1]/a.jpg": ("http://[::ffff:127.0.0.1]/a.jpg", "private_address"),
    "http://0x7f000001/a.jpg": ("http://0x7f000001/a.jpg", "private_address"),
    "http://me:secret@127.0.0.1/b.jpg?token=secret": ("http://127.0.0.1/b.jpg#…",
                                                      "private_address"),
    "http://me:se/cret@127.0.0.1/c.jpg": ("invalid-url#…", "bad_url"),
    "http:/me:secret@x.org/d.jpg": ("invalid-url#…", "bad_url"),
    "me:secret@x.org/e.jpg": ("invalid-url#…", "bad_url"),
}  # fmt: skip

ROWS = tuple(
    Rows(url, TEXT, {"u.txt": url}, {name: ("failed", reason)},
         changes={"download__max_failed_fraction": 1.0})
    for url, (name, reason) in URLS.items()
)  # fmt: skip
