"""An example: images made and shrunk in parallel. README.md says what it shows."""
