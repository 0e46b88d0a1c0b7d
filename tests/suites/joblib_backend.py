"""A pytest plugin: joblib's tests take every backend that is registered when they are collected, ours included."""

import scaler.joblib  # noqa: F401
