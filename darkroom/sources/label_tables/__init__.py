"""Label tables: how they are read, and which file each row means."""
