"""Mathematics for one device: knows PackedBatch, nothing of where it came from."""
