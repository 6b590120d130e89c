"""What `lib.pixels` decodes with: formats, the checks of each one's stream, colours."""
