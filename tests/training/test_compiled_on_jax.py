"""What JAX compiles is kept for the next process, where that is safe."""

from __future__ import annotations

import numpy as np
import pytest

from tests.on_jax import IS_THAT_RUN
from tuner.training.compiled import CompiledPrograms

pytestmark = pytest.mark.skipif(not IS_THAT_RUN, reason="tests/test_backends.py runs it")


@pytest.fixture
def notices():
    return []


@pytest.fixture
def programs(tmp_path, notices):
    return CompiledPrograms(tmp_path / "programs", notices.append)


def lowered(function=lambda x, by: (x * by, x.sum()), **options):
    import jax

    return jax.jit(function, **options).lower(np.ones(3, np.float32), np.float32(2))


def run(program):
    return [np.asarray(part).tolist() for part in program(np.arange(3.0, dtype=np.float32), 2.0)]


def test_it_is_compiled_once_and_is_the_same(tmp_path, programs, notices, monkeypatch):
    from tuner.training.jax import compiled

    first = run(compiled(lowered(), programs))
    again = lowered()
    monkeypatch.setattr(type(again), "compile", None)
    other_process = CompiledPrograms(tmp_path / "programs", notices.append)
    assert run(compiled(again, other_process)) == first == [[0, 2, 4], 3]
    assert len(list((tmp_path / "programs").iterdir())) == 1
    assert not notices


def test_another_program_option_or_number_of_threads_is_another(tmp_path, programs, monkeypatch):
    from tuner.training import jax

    jax.compiled(lowered(), programs)
    jax.compiled(lowered(lambda x, by: (x + by, x.sum())), programs)
    jax.compiled(lowered(donate_argnums=0), programs)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    jax.compiled(lowered(), programs)
    monkeypatch.setenv("NPROC", "7")
    jax._compiler.cache_clear()
    jax.compiled(lowered(), programs)
    assert len(list((tmp_path / "programs").iterdir())) == 5


def test_what_jax_cannot_load_is_compiled_again(programs, notices):
    from tuner.training.jax import compiled

    compiled(lowered(), programs)
    (path,) = programs._folder.iterdir()
    programs.write(path.stem, b"no program, though whole")
    assert run(compiled(lowered(), programs)) == [[0, 2, 4], 3]
    assert len(notices) == 1
    assert run(compiled(lowered(), programs)) == [[0, 2, 4], 3]
    assert len(notices) == 1


def test_what_calls_python_or_is_switched_off_is_not_kept(tmp_path, programs):
    import jax

    from tuner.training.jax import compiled

    def calls(x, by):
        return jax.pure_callback(lambda y: y, x, x), by

    compiled(lowered(calls), programs)
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        compiled(lowered(), programs)
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not (tmp_path / "programs").exists()


def test_which_arguments_are_unused_makes_another_program(programs, notices):
    import jax

    from tuner.training.jax import compiled

    # What is unused is left out of a text, and the two have the same.
    values = {"a": np.float32(1), "b": np.float32(2), "c": np.float32(3)}
    for options in ({}, {"keep_unused": True}):
        for name in ("b", "c"):
            function = jax.jit(lambda v, name=name: v["a"] * 10 + v[name], **options)
            assert float(compiled(function.lower(values), programs)(values)) == 10 + values[name]
    assert len(list(programs._folder.iterdir())) == 2
    assert not notices


def test_what_is_to_be_computed_again_is_not_kept_on_a_cpu(programs):
    import jax
    import jax.numpy as jnp

    from tuner.training.jax import compiled

    def kept(wrap):
        def loss(x):
            for _ in range(4):
                x = wrap(lambda x: jnp.tanh(jnp.tanh(x @ x) @ x))(x)
            return x.sum()

        x = np.full((64, 64), 0.01, np.float32)
        lowered = jax.jit(jax.grad(loss), keep_unused=True).lower(x)
        program, again = compiled(lowered, programs), compiled(lowered, programs)
        return program.memory_analysis().temp_size_in_bytes, program(x), again(x)

    (usual, gradient, _), (less, other, again) = kept(lambda f: f), kept(jax.checkpoint)
    assert less < 0.8 * usual
    assert np.allclose(gradient, other)
    assert np.array_equal(other, again)
