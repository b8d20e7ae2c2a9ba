"""Models for other runtimes: ONNX and TorchScript, and a detector that runs ONNX without torch.

``onnx_predictor``, ``array_postprocessing`` and ``metadata`` need neither torch nor detectron2.
"""
