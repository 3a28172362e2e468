"""What a run will take, before it is started: tokens, tiles, FLOPs, memory per rank, hours, cost."""
