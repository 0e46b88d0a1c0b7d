"""What is raised where bytes are no frame, or a frame says what cannot be."""

PROTOCOL_VERSION = 2
PROTOCOL_MINOR = 2  # what may differ between minors: protocol/README.md, Compatibility
NAMED_MINOR = 1  # from this one on there are named functions
RESOURCES_MINOR = 2  # and functions whose calls ask for resources


class FrameError(ValueError):
    """A frame that is not what the protocol says; the message is a sentence for the log and for the refusal."""


class VersionError(FrameError):
    """A frame of another version of the protocol."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the other side speaks version {version} of Scaler's protocol and this side version {PROTOCOL_VERSION}: "
            "install the same version of scaler on both"
        )
        self.version = version
