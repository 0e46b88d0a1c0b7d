"""The schemas of the wire, so that an installed package finds them as scaler.protocol.schema.

Not here: any code. What reads the schemas is scaler.protocol.codec; what they mean is in README.md.
"""
