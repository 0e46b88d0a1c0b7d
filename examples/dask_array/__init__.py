"""An example: a Dask array whose chunks are computed by Scaler's workers. README.md says what it shows."""
