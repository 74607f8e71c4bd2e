"""Reading logs: files to blocks, blocks to hits, hits to records, records to findings."""
