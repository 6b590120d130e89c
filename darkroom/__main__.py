"""`python -m darkroom`, the same as `darkroom`."""

from darkroom.commands.main import app

app(prog_name="darkroom")
