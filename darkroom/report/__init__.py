"""What the report page and the model card are made of: counts, thumbnails, charts, templates."""
