"""Programs as people write them for keras-tuner, each in a manner of its own.

They are not in the style of this project on purpose: short names, module-level state, star-free but
old imports, everything that public notebooks do. `test_programs.py` runs them all.
"""
