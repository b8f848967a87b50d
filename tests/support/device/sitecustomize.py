"""Gives a Python process the pretend GPU before anything else is imported."""

import os
import sys
import traceback

if "PRETEND_DEVICES" in os.environ:
    try:
        import pretend_device

        memory = os.environ.get("PRETEND_MEMORY")
        library = pretend_device.start(int(os.environ["PRETEND_DEVICES"]), int(memory) if memory else None)
    except BaseException:  # noqa: BLE001  (Python would print it, and go on without the device)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
