"""The explorer: what the sliders choose is drawn; errors are shown, not lost."""

import ipywidgets
import pytest

from evae_core.widgets import explorer


@pytest.fixture
def drawn(monkeypatch):
    shown = []
    monkeypatch.setattr("evae_core.widgets.display", shown.append)
    return shown


def test_moving_a_slider_draws_again(drawn):
    box = explorer(lambda beta, n: (beta, n), beta=(1e-6, 1e-3), n=range(3))
    beta, n, out = box.children
    assert isinstance(beta, ipywidgets.SelectionSlider) and isinstance(out, ipywidgets.Output)
    beta.value = 1e-3
    n.value = 2
    assert drawn == [(1e-6, 0), (1e-3, 0), (1e-3, 2)]
    assert [label for label, _ in beta.options] == ["1e-06", "0.001"]


def test_an_exception_in_the_callback_is_not_lost(drawn):
    def draw(n):
        if n:
            raise ArithmeticError("seen")
        return n
    box = explorer(draw, n=(0, 1))
    with pytest.raises(ArithmeticError, match="seen"):  # outside a kernel Output lets it through; inside it shows it
        box.children[0].value = 1


def test_bad_arguments():
    with pytest.raises(TypeError, match="draw"):
        explorer(3, n=(1,))
    with pytest.raises(ValueError, match="control"):
        explorer(print)
    with pytest.raises(ValueError, match="n has no values"):
        explorer(print, n=())
