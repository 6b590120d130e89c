"""Reading zip, tar and WebDataset files member by member, within limits."""
