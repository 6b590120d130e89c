"""What is measured on one image."""
