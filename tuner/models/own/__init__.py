"""Networks of a person's own: a function `build(hp)` or Keras model as `family: module:name`."""
