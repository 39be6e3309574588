"""Presets: found by name, overruled by the environment, refused by name."""

from pathlib import Path

import pytest

from evae_companion.places import figures_folder
from evae_core.presets import PRESETS, load_preset


def test_names(monkeypatch):
    monkeypatch.delenv("EVAE_PRESET", raising=False)
    assert load_preset().name == "desktop" and load_preset("smoke") is PRESETS["smoke"]
    monkeypatch.setenv("EVAE_PRESET", "smoke")
    assert load_preset("paper").name == "smoke"
    monkeypatch.setenv("EVAE_PRESET", "huge")
    with pytest.raises(ValueError, match="EVAE_PRESET.*huge"):
        load_preset("paper")


def test_unknown(monkeypatch):
    monkeypatch.delenv("EVAE_PRESET", raising=False)
    with pytest.raises(ValueError, match="smoke.*laptop.*paper"):
        load_preset("big")
    with pytest.raises(TypeError, match="preset"):
        load_preset(3)


def test_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("EVAE_FIGURES", str(tmp_path))
    assert figures_folder(PRESETS["smoke"]) == tmp_path / "smoke"
    monkeypatch.delenv("EVAE_FIGURES")
    assert figures_folder(PRESETS["laptop"]) == Path(__file__).resolve().parents[2] / "build" / "laptop" / "figures"
