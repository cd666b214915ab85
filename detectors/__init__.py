"""The mathematics: one detector a file, pure and columnar. numpy and river, nothing else."""
