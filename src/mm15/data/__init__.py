"""From many data sets to one stream of packed batches: sources, mixture, plan, loader."""
