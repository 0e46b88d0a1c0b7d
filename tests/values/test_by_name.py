"""Which modules travel by value, asked for while somebody else is importing cloudpickle."""

import subprocess
import sys
from textwrap import dedent

PROGRAM = dedent(
    """
    import sys, types
    import scaler.values.by_name as by_name

    sys.modules["by_hand"] = types.ModuleType("by_hand")
    half, package = types.ModuleType("cloudpickle.cloudpickle"), types.ModuleType("cloudpickle")
    package.__path__ = []
    half.__spec__ = package.__spec__ = object()
    sys.modules.update({"cloudpickle": package, "cloudpickle.cloudpickle": half})
    assert by_name.modules_by_value() == ()
    del sys.modules["cloudpickle"], sys.modules["cloudpickle.cloudpickle"]
    assert by_name.modules_by_value() == (b"by_hand",)
    """
)


def test_a_signals_handler_that_interrupts_the_import_of_cloudpickle_may_submit() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=30)
