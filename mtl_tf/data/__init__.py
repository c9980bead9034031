"""Data sets: descriptors and readers, augmentation, the tf.data pipeline. Import the modules directly."""
