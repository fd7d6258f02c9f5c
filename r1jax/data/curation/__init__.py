"""Which samples are kept: filters, contamination, and the files and sheet they leave."""
