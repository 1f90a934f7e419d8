"""Snakemake looks at the parameters of a function once."""

import inspect
from types import SimpleNamespace

import pytest

from rope_spectra.planning import signatures


class Unhashable:
    """A callable that can be in no cache."""

    __hash__ = None

    def __call__(self, attempt: int) -> int:
        return attempt


@pytest.fixture
def asked() -> list[object]:
    return []


@pytest.fixture
def module(asked: list[object]) -> SimpleNamespace:
    """Stands for a module of Snakemake, and notes what it was asked."""

    def get_function_params(function: object) -> object:
        asked.append(function)
        return inspect.signature(function).parameters

    return SimpleNamespace(get_function_params=get_function_params)


def test_a_function_is_looked_at_once(module: SimpleNamespace, asked: list[object]) -> None:
    other = SimpleNamespace()
    signatures.see(module, other)
    for each in (module, other, module):
        assert list(each.get_function_params(Unhashable.__call__)) == ["self", "attempt"]
    assert asked == [Unhashable.__call__]


def test_a_callable_without_a_hash_is_looked_at_each_time(
    module: SimpleNamespace, asked: list[object]
) -> None:
    signatures.see(module)
    function = Unhashable()
    for _ in range(2):
        assert list(module.get_function_params(function)) == ["attempt"]
    assert len(asked) == 2


def test_what_is_no_function_fails_as_before(module: SimpleNamespace) -> None:
    signatures.see(module)
    with pytest.raises(TypeError, match="not a callable"):
        module.get_function_params(3)


def test_a_snakefile_that_is_read_again_adds_no_layer(module: SimpleNamespace) -> None:
    signatures.see(module)
    first = module.get_function_params
    signatures.see(module)
    assert module.get_function_params is first
