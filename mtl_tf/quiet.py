"""Starts TensorFlow without the page of messages about kernels and absent GPUs that buries a command's own lines."""

import os
import sys
import tempfile


def start_tensorflow():
    """Imports TensorFlow and lists the devices; what it says meanwhile is shown only if that fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever a user's Keras computes with elsewhere
    sys.stderr.flush()
    # The messages come from C++ before any log level holds, so that only the file descriptor can be turned away.
    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            messages.seek(0)
            os.write(kept, messages.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
