"""The command line `darkroom`: one thin function per command; the library does the work.

A command's libraries are loaded when it is called, so that help is shown at once.
"""

import inspect

import typer

from darkroom.commands.compare import compare
from darkroom.commands.export import export
from darkroom.commands.predict import predict
from darkroom.commands.purge import purge
from darkroom.commands.retry import retry
from darkroom.commands.review import review

HELP = """\
What a person runs beside the pipeline.

The pipeline itself is `dvc repro`: it turns a raw pile of images into a clean data set and an
evaluated model. These commands work in its folder, on what it wrote. `darkroom COMMAND --help`
says more about each.
"""

app = typer.Typer(
    name="darkroom",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a defect shows Python's own traceback
    rich_markup_mode=None,  # plain help, the same in a terminal, a pipe and a log
)
for command in (compare, export, predict, purge, retry, review):
    # A line of \b keeps the next paragraph from being wrapped.
    app.command(help=inspect.cleandoc(str(command.__doc__)).replace(r"\b", "\b"))(command)
