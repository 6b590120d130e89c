"""What is measured on one image, and what the measurements say about it."""
