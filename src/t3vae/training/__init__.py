"""What is done with a model: training, checkpoints, encodings, samples."""
