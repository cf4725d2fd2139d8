"""Images: data sets, fixed hashed splits, augmentation."""
