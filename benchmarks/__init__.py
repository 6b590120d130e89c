"""What Darkroom reaches, measured; nothing here is a test."""
