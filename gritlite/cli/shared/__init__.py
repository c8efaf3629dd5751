"""What several commands share: options, bars, errors, text and vector files."""
