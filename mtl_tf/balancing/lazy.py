"""TensorFlow, imported at its first use: options, help and refusals need the methods' classes, and answer at once."""


class _TensorFlow:
    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()
