"""Code that several commands share: options, notices, errors, progress bars, tables."""
