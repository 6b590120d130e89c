"""What the report page is made of: counts, contact sheets, charts, and the template."""
