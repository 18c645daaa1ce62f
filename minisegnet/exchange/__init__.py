"""Exchange with files and other libraries: tensor files, checkpoints, other libraries' weights, ONNX, DLPack."""
