"""Named settings of whole runs; where a number comes from stands beside it."""
