"""Properties of the public functions, one topic a file; hundreds of rows reach the screening paths."""
