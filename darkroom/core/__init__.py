"""What two or more stages stand on."""
