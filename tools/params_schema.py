"""The JSON schema of params.yaml, for editors: they then complete keys and mark wrong values.

Run `make schema` after a change to darkroom/core/params/; a test compares.
"""

import json
from pathlib import Path

from darkroom.core.files import write_text
from darkroom.core.params.load import FILE
from darkroom.core.params.whole import Params

TARGET = "params.schema.json"


def schema_text() -> str:
    """Return the schema of params.yaml as indented JSON."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Params.model_json_schema(),
        "title": f"Darkroom's {FILE}",
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_text(Path.cwd() / TARGET, schema_text())
