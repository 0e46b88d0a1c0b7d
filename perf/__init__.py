"""What Scaler costs and how fast it is, measured beside what people would use otherwise. Start with README.md."""
