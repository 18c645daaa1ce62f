"""What comes from elsewhere and what goes there: tensor files, checkpoints, other libraries' weights, ONNX, DLPack."""
