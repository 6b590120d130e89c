"""Bad params.yaml: no YAML, keys that are wrong, missing or doubled, values that cannot be."""

import re

from tests.bad_input.cases import PARAMS, Case, put

WRONG = "ROOT/params.yaml has wrong settings:\n  "
SAMPLE = "{kind: sample}"


def _text(id, says, content):
    """The whole file is `content`."""
    return Case(id, says, lambda root: put(root, {"params.yaml": content}), "scan")


def _line(id, says, old, new):
    """One piece of the committed file is another."""
    changed, times = re.subn(old, lambda _: new, PARAMS, count=1)
    if not times:
        raise ValueError(f"{id}: params.yaml has no {old!r}")
    return _text(id, says, changed)


def _value(id, says, old, new):
    return _line(id, WRONG + says, old, new)


def _source(id, says, source):
    return _value(id, f"download.sources.0{says}", SAMPLE, source)


def _one_class(*lines):
    """Return the section train as a pattern, and as it is for one class with other lines."""
    section = PARAMS[PARAMS.index("train:\n") : PARAMS.index("\nevaluate:")]
    changed = section
    for line in ("task: one_class", "normal_class: cat", *lines):
        name = line.partition(":")[0]
        changed = re.sub(rf"\n  {name}: .*", lambda _, line=line: f"\n  {line}", changed)
    return re.escape(section), changed


def _aliases(depth):
    """A bomb: lists of nine aliases of the list before, 9 to the power of `depth` in all."""
    levels = [f"&a0 [{', '.join('x' * 9)}]"]
    levels += [f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, depth)]
    return f"[{', '.join(levels)}]"


TEXTS = (
    _text("empty file", "ROOT/params.yaml: expected sections such as `clean:`, got nothing; "
          "git's params.yaml has them all", ""),
    _text("words", "ROOT/params.yaml: expected sections such as `clean:`, got 'hello'; …", "hello"),
    _text("a list", "ROOT/params.yaml: expected sections such as `clean:`, got ['a']; …", "- a\n"),
    _text("no UTF-8", "ROOT/params.yaml, line 1: expected UTF-8, got the byte 0xe9; "
          "save the file as UTF-8", "seed: 17 # caf\xe9".encode("latin-1")),
    _text("UTF-16", "ROOT/params.yaml, line 1: expected UTF-8, got the byte 0xff; …",
          PARAMS.encode("utf-16")),
    _text("NUL byte", "ROOT/params.yaml, line 2: not valid YAML: the character U+0000 is not "
          "allowed; remove it", "seed: 17\nx: \0\n"),
    _text("two documents", "ROOT/params.yaml, line …: not valid YAML: but found another document…",
          f"{PARAMS}\n---\nseed: 3\n"),
    _text("git's conflict", "ROOT/params.yaml, line …: git's mark of a conflict, `<<<<<<< HEAD`; "
          "choose a side and take the marks out", f"{PARAMS}<<<<<<< HEAD\nx: 1\n=======\n"),
    Case("params.yaml absent", "ROOT/params.yaml is absent: run from the repository root, where "
         "params.yaml lies", lambda root: None, "scan"),
    Case("params.yaml a folder", "ROOT/params.yaml: Is a directory; a file belongs there: move "
         "the folder away", lambda root: (root / "params.yaml").mkdir(), "scan"),
    _line("tab", "ROOT/params.yaml, line …: not valid YAML: found character '\\t' that cannot start"
          " any token, while scanning for the next token; correct that line: indent with spaces, "
          "and put text that holds `: ` or ` #` in quotes\n  \\tretries: 3…",
          "  retries: 3", "\tretries: 3"),
    _line("key twice", "ROOT/params.yaml, line …: not valid YAML: key `retries` stands twice, "
          "while constructing a mapping that begins in line …; keep one of them\n    retries: 5…",
          "  retries: 3", "  retries: 3\n  retries: 5"),
    _text("section twice", "ROOT/params.yaml, line …: not valid YAML: key `clean` stands twice, "
          "while constructing a mapping that begins in line …; keep one of them\n  clean: {}",
          f"{PARAMS}clean: {{}}\n"),
    _line("key twice in a source", "ROOT/params.yaml, line …: not valid YAML: key `path` stands "
          "twice, …", SAMPLE, "{kind: folder, path: a, path: b}"),
    _line("secrets on the line that is shown", "ROOT/params.yaml, line …: not valid YAML: key "
          "`kind` stands twice, …\n      - {kind: list, path: 'https://…@x.org/u.csv?…'…",
          SAMPLE, "{kind: list, path: 'https://me:secret@x.org/u.csv?k=secret', kind: list}"),
    _line("bracket left open", "ROOT/params.yaml, line …: not valid YAML: expected ',' or '}', but "
          "got …, while parsing a flow mapping that begins in line …; correct that line…",
          SAMPLE, "{kind: sample"),
    _line("no colon", "ROOT/params.yaml, line …: not valid YAML: could not find expected ':', "
          "while scanning a simple key that begins in line …", "  retries: 3", "  retries 3"),
    _line("unknown anchor", "ROOT/params.yaml, line …: not valid YAML: found undefined alias 'x'…",
          "retries: 3", "retries: *x"),
    _line("Python tag", "ROOT/params.yaml, line …: not valid YAML: could not determine a "
          "constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'; …",
          "retries: 3", "retries: !!python/object/apply:os.system [id]"),
    _line("wrong tag", "ROOT/params.yaml: not valid YAML: a value is not of the kind that its tag "
          "says; take out `!!` and the word after it", "retries: 3", "retries: !!bool many"),
    _line("a mapping for a key", "ROOT/params.yaml, line …: not valid YAML: found unhashable key, "
          "while constructing a mapping that begins in line …; correct that line…",
          "  retries: 3", "  ? {retries: 1}\n  : 3"),
)  # fmt: skip

VALUES = (
    _value("section missing", "clean: missing; add it (git's params.yaml has every key's default)\n"
           "  cleen: unknown key, did you mean `clean`?; remove it or correct its name",
           "clean:", "cleen:"),
    _value("key misspelt", "download.retries: missing; …\n"
           "  download.retry: unknown key, did you mean `retries`?; remove it or correct its name",
           "  retries: 3", "  retry: 3"),
    _value("key unknown", "download.colour: unknown key (known here: sources, …); remove it or "
           "correct its name", "  retries: 3", "  colour: red\n  retries: 3"),
    _value("a list for a key", "download.retries: missing; …\n  download.('retries',): expected "
           "text for a key; got ('retries',)", "  retries: 3", "  ? [retries]\n  : 3"),
    _value("negative", "download.retries: expected a value greater than or equal to 0; got -1",
           "retries: 3", "retries: -1"),
    _value("zero", "download.max_file_bytes: expected a value greater than 0; got 0",
           "max_file_bytes: 67108864", "max_file_bytes: 0"),
    _value("percent", "download.max_failed_fraction: expected a value less than or equal to 1; "
           "got 50", "max_failed_fraction: 0.5", "max_failed_fraction: 50"),
    _value("not a number", "download.max_failed_fraction: expected a finite number; got nan",
           "max_failed_fraction: 0.5", "max_failed_fraction: .nan"),
    _value("infinity", "download.timeout_s: expected a finite number; got inf",
           "timeout_s: 60", "timeout_s: .inf"),
    _value("words for a number", "download.retries: expected a valid integer; got 'three'",
           "retries: 3", "retries: three"),
    _value("number in quotes", "download.retries: expected a valid integer; got '3'; write it "
           "without quotes: 3", "retries: 3", "retries: '3'"),
    _value("exponent", "clean.max_pixels: expected a valid integer; got 1000000000.0; write it in "
           "full: 1000000000", "max_pixels: 100000000", "max_pixels: 1e9"),
    _value("unit", "download.max_file_bytes: expected a valid integer; got '64MB'",
           "max_file_bytes: 67108864", "max_file_bytes: 64MB"),
    _value("fraction of a try", "download.retries: expected a valid integer; got 2.5",
           "retries: 3", "retries: 2.5"),
    _value("boolean for a number", "download.retries: expected a valid integer; got true",
           "retries: 3", "retries: true"),
    _value("YAML 1.1's boolean for a boolean", "download.allow_private_hosts: expected true or "
           "false; got 'yes'", "allow_private_hosts: false", "allow_private_hosts: yes"),
    _value("sexagesimal", "download.timeout_s: expected a valid number; got '1:30'",
           "timeout_s: 60", "timeout_s: 1:30"),
    _value("word for a boolean", "download.allow_private_hosts: expected true or false; got "
           "'never'", "allow_private_hosts: false", "allow_private_hosts: never"),
    _value("number for a boolean", "download.allow_private_hosts: expected true or false; got 1",
           "allow_private_hosts: false", "allow_private_hosts: 1"),
    _value("aliases that multiply", "download.retries: expected a valid integer; got [[…",
           "retries: 3", f"retries: {_aliases(9)}"),
    _value("alias of itself", "download.retries: expected a valid integer; got [[…]]",
           "retries: 3", "retries: &a [*a]"),
    _value("beyond all numbers", "download.max_file_bytes: expected a value less than or equal to "
           "9007199254740992; got 1000000000000000000000000000000",
           "max_file_bytes: 67108864", f"max_file_bytes: 1{'0' * 30}"),
    _value("line break in a header", "download.user_agent: expected printable ASCII, no space at "
           "its ends; got 'me\\nCookie: x'", "user_agent: .*", 'user_agent: "me\\nCookie: x"'),
    _value("no bytes at all", "download.max_total_bytes: expected a value greater than 0; got 0",
           "max_total_bytes: null", "max_total_bytes: 0"),
    _value("archives that shrink", "download.max_archive_ratio: expected a value greater than 1; "
           "got 0.5", "max_archive_ratio: 200", "max_archive_ratio: 0.5"),
    _value("threshold in percent", "clean.dark_below: expected a value less than or equal to 1; "
           "got 32", "dark_below: 0.32", "dark_below: 32"),
    _value("other engine", "engine.kind: expected 'local'; got 'dask'",
           "kind: local", "kind: dask"),
    _value("negative workers", "engine.workers: expected a value greater than or equal to 0; "
           "got -1", "workers: 0", "workers: -1"),
    _value("one flag, no list", "clean.reject: expected a list, as [first, second]; got 'dark'",
           r"reject: \[.*?\]", "reject: dark"),
    _value("flag misspelt", "clean.reject.0: expected 'too_small', …; got 'to_small'",
           "reject: .too_small", "reject: [to_small"),
    _value("one class, but not which", "train: task: one_class needs normal_class, the label to "
           "learn from", "task: rating", "task: one_class"),
    _value("one class of a network that learnt nothing", "train: outlier_method: mahalanobis reads "
           "a backbone that is not trained further, and small without weights has learnt nothing: "
           "set backbone: bundled (image_size: 128), or weights: imagenet with…",
           *_one_class()),
    _value("deep without a reference", "train: outlier_method: deep needs two reference_classes at "
           "least, labels of images that are neither normal nor what is looked for; got []",
           *_one_class("outlier_method: deep")),
    _value("normal class for a reference", "train: reference_classes must not hold normal_class, "
           "'cat': take it out",
           *_one_class("outlier_method: deep", "reference_classes: [cat, dog]")),
    _value("autoencoder that never learns", "train: outlier_method: autoencoder learns in "
           "epochs.fine_tune: set it above 0",
           *_one_class("outlier_method: autoencoder", "epochs: {head: 5, fine_tune: 0}")),
    _value("autoencoder of an odd size", "train: image_size must be a multiple of 16 with "
           "outlier_method: autoencoder, which halves it again and again; got 40",
           *_one_class("outlier_method: autoencoder", "image_size: 40")),
    _value("classes weighed where there is one", "train: class_weights must be none with task: "
           "one_class, whose losses weigh no classes; got balanced",
           *_one_class("class_weights: balanced")),
    _value("layers before features that are made once", "train: augment must be [] with "
           "outlier_method: svm, which has no fine-tuning for it to apply in; got [{'layer': "
           "'RandomFlip'}]",
           *_one_class("outlier_method: svm", "augment: [{layer: RandomFlip}]")),
    _value("layers of no backbone", "train: unfreeze must be null with outlier_method: autoencoder,"
           " which fine-tunes no backbone; got 4",
           *_one_class("outlier_method: autoencoder", "unfreeze: 4")),
    _value("weights of no backbone", "train: weights must be null with outlier_method: autoencoder,"
           " a network of its own that learns from nothing, whatever backbone says; got imagenet",
           *_one_class("outlier_method: autoencoder", "weights: imagenet")),
    _value("width of no backbone", "train: alpha must be null with outlier_method: autoencoder, a "
           "network of its own that learns from nothing, whatever backbone says; got 0.35",
           *_one_class("outlier_method: autoencoder", "alpha: 0.35")),
    _value("nothing for a list", "clean.reject: expected a list, as [first, second]; got null",
           r"reject: \[.*?\]", "reject:"),
)  # fmt: skip

SOURCES = (
    _value("no sources", "download.sources: expected at least 1; got []",
           f"    - {SAMPLE}", "    []"),
    _value("one source, no list", "download.sources: expected a list, as [first, second]; got "
           "{'kind': 'sample'}", f"    - {SAMPLE}", "    kind: sample"),
    _source("source a word", ": expected keys and values, as {key: value}; got 'photos'", "photos"),
    _source("no kind", ": expected `kind`, one of sample, folder, list…; got none", "{path: a}"),
    _source("kind unknown", ": expected `kind`, one of sample, folder, list…; got 'ftp'",
            "{kind: ftp}"),
    _source("key of a source misspelt", ".lables: unknown key, did you mean `labels`?; remove it "
            "or correct its name", "{kind: folder, path: a, lables: b.csv}"),
    _source("no path", ".path: missing; add it", "{kind: folder}"),
    _source("path empty", ".path: expected text, not nothing; got ''", "{kind: folder, path: ''}"),
    _source("path null", ".path: expected text; got null", "{kind: folder, path: }"),
    _source("path a number", ".path: expected text; got 2024; put it in quotes",
            "{kind: folder, path: 2024}"),
    _source("path a date", ".path: expected text; got 2024-01-31; put it in quotes",
            "{kind: list, path: 2024-01-31}"),
    _source("path with NUL", ".path: expected printable text, got 'a\\x00b'; write it again",
            '{kind: list, path: "a\\0b"}'),
    _value("credentials in what is wrong", "download.sources: expected a list, as [first, second]; "
           "got {'kind': 'list', 'path': 'https://…@x.org/u.csv'}", f"    - {SAMPLE}",
           "    {kind: list, path: 'https://me:secret@x.org/u.csv'}"),
    _source("path too long", ".path: expected at most 255 bytes between slashes, got 'xxx…' …",
            f"{{kind: folder, path: {'x' * 300}}}"),
    _source("name empty", ".name: expected text, not nothing; got ''",
            "{kind: folder, path: a, name: ''}"),
    _source("labels a number", ".labels.0: expected text; got 1; put it in quotes",
            "{kind: folder, path: a, labels: 1}"),
    _source("a column of no meaning", ".columns.mos: expected name, label, mean, std, group, split"
            " or rating_1, rating_2, …; got 'mos'", "{kind: folder, path: a, columns: {mos: x}}"),
    _source("columns named and numbered", ": columns: expected names, or numbers where the table "
            "has no header; got both", "{kind: folder, path: a, columns: {name: 1, mean: x}}"),
    _source("labels from two places", ": give either `labels` (a table) or `label_from`, not both",
            "{kind: folder, path: a, labels: b.csv, label_from: parent}"),
    _source("label_from", ".label_from: expected 'parent'; got 'grandparent'",
            "{kind: folder, path: a, label_from: grandparent}"),
    _value("source twice", "download: sources named photos come twice; give each a `name`",
           f"    - {SAMPLE}", "    - {kind: folder, path: photos}\n" * 2),
    _line("home of nobody", "params.yaml: path ~nobody-here/a: nobody's home folder is known by "
          "that name; write it out", SAMPLE, "{kind: folder, path: ~nobody-here/a}"),
)  # fmt: skip

CASES = (*TEXTS, *VALUES, *SOURCES)
