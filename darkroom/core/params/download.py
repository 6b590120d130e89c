"""Section `download`: the sources, and how images are fetched."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from darkroom.core.params.section import Fraction, Name, Positive, Section
from darkroom.core.paths import is_url, without_secrets


def _as_list(value: Any) -> Any:
    return [] if value is None else value if isinstance(value, list) else [value]


Tables = Annotated[
    list[Name], BeforeValidator(_as_list, json_schema_input_type=Name | list[Name] | None)
]


def _known(meaning: str) -> str:
    if re.fullmatch(r"name|label|mean|std|group|split|rating_[0-9]{1,3}", meaning) is None:
        raise ValueError(
            "expected name, label, mean, std, group, split or rating_1, rating_2, …; got"
            f" {meaning[:40]!r}"
        )
    return meaning


Meaning = Annotated[str, AfterValidator(_known)]
Columns = dict[Meaning, Name | Positive]  # what a column means → its name, or its number from 1


class SampleSource(Section):
    """The embedded sample."""

    kind: Literal["sample"]
    title: ClassVar = "sample"  # the name of the source in tables


class LocatedSource(Section):
    """A source that lies somewhere: a path, or a URL such as s3://bucket/photos."""

    path: Name
    name: Name | None = None  # default: the path as written

    @property
    def shown_path(self) -> str:
        """Return the path as tables and messages may show it: without credentials and query."""
        return without_secrets(self.path) if is_url(self.path) else self.path

    @property
    def title(self) -> str:
        """Return the name of the source in tables."""
        return self.name or self.shown_path


class TabledSource(LocatedSource):
    """Labels from tables, one or several, whose columns may be named otherwise."""

    labels: Tables = Field(default=[])
    columns: Columns = Field(default={})

    @model_validator(mode="after")
    def _all_named_or_numbered(self) -> "TabledSource":
        if len({isinstance(column, int) for column in self.columns.values()}) > 1:
            raise ValueError(
                "columns: expected names, or numbers where the table has no header; got both"
            )
        return self


class LabelledSource(TabledSource):
    """Labels from tables, or from the names of the folders that the files are in."""

    label_from: Literal["parent"] | None = None
    split_from: Literal["parent", "grandparent", "table"] | None = None

    @model_validator(mode="after")
    def _one_kind_of_label(self) -> "LabelledSource":
        if self.labels and self.label_from:
            raise ValueError("give either `labels` (a table) or `label_from`, not both")
        if self.split_from == "table" and not self.labels:
            raise ValueError("split_from: table needs `labels`, tables named train, test, …")
        return self


class FolderSource(LabelledSource):
    """Image files below a folder."""

    kind: Literal["folder"]
    follow_links: bool = False  # true: also where a link leads outside the folder


class ArchiveSource(LabelledSource):
    """Image files in a zip or a tar, packed or not."""

    kind: Literal["archive"]


class WebDatasetSource(TabledSource):
    """Shards of WebDataset: a path, a glob, or a brace range as shards/{00000..00012}.tar."""

    kind: Literal["webdataset"]  # without `labels`: what the shards hold beside each image


class ListSource(LocatedSource):
    """Image URLs in a CSV or a text file (one per line); other columns may be labels."""

    kind: Literal["list"]
    url_column: Name = "url"
    checksum_column: Name | None = None  # md5, sha1, sha256 or sha512 of the bytes
    columns: dict[Meaning, Name] = Field(default={})

    @model_validator(mode="after")
    def _named_by_url(self) -> "ListSource":
        if "name" in self.columns:
            raise ValueError("columns: a list has no name; say url_column")
        return self


Source = Annotated[
    SampleSource | FolderSource | ListSource | ArchiveSource | WebDatasetSource,
    Field(discriminator="kind"),
]


class DownloadParams(Section):
    """Where images come from, and how patient to be."""

    sources: Annotated[list[Source], Field(min_length=1)]
    max_failed_fraction: Fraction
    max_file_bytes: Positive
    timeout_s: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0, le=1000)]
    per_host: Positive
    allow_private_hosts: bool
    max_total_bytes: Positive | None
    user_agent: Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$")]  # fit for a header
    obey_robots_tag: bool
    max_archive_bytes: Positive
    max_archive_ratio: Annotated[float, Field(gt=1)]

    @model_validator(mode="after")
    def _distinct_sources(self) -> "DownloadParams":
        titles = [source.title for source in self.sources]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"sources named {', '.join(twice)} come twice; give each a `name`")
        return self
