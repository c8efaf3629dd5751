"""What needs a running model: calibration, sensitivity, and types chosen by measurement."""
