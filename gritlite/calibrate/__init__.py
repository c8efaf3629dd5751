"""Calibration, tensor sensitivity and automatic type choice: work that needs a running model."""
