"""Model files for elsewhere: ONNX, OpenVINO, LiteRT and SavedModel, checked against Keras."""
