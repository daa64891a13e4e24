import os
from pathlib import Path

import pytest
import torch
from torch import nn

from srrd_ray.core.errors import StoreError
from srrd_ray.storage.weights import load_into, load_optimizer, load_tensors, optimizer_tensors, save_tensors


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def test_tensors_and_notes_come_back_exactly_and_as_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(1, dtype=torch.int64)}
    save_tensors(tmp_path / "w.safetensors", tensors, {"config": "ab"})
    back, notes = load_tensors(tmp_path / "w.safetensors")
    assert notes == {"config": "ab"}
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    save_tensors(tmp_path / "v.safetensors", dict(reversed(tensors.items())), {"config": "ab"})
    assert (tmp_path / "w.safetensors").read_bytes() == (tmp_path / "v.safetensors").read_bytes()


def test_weights_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(2)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["file/a.safetensors", "/dev/full/a.safetensors"])
def test_weights_that_cannot_be_written_are_an_error_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="output-"):
        save_tensors(tmp_path / name, {"a": torch.zeros(2)}, {})


def test_64_a_checkpoint_with_code_is_never_unpickled(tmp_path: Path) -> None:
    torch.save({"model": Bomb(tmp_path / "exploded")}, tmp_path / "model.pt")
    with pytest.raises(StoreError, match="Only safetensors are read") as caught:
        load_tensors(tmp_path / "model.pt")
    assert caught.value.code == "weights-unreadable"
    assert not (tmp_path / "exploded").exists()


def test_65_weights_of_another_architecture_stop_naming_the_first_key_and_both_shapes() -> None:
    other = {key: value.clone() for key, value in nn.Linear(4, 3).state_dict().items()}
    with pytest.raises(StoreError, match=r"first at weight .*got \(3, 4\), expected \(2, 4\)") as caught:
        load_into(nn.Linear(4, 2, bias=True), {"weight": other["weight"], "bias": torch.zeros(2)}, "model")
    assert caught.value.code == "weights-mismatch"


def test_65_missing_and_unknown_keys_stop() -> None:
    with pytest.raises(StoreError, match=r"bias .*got None, expected \(2,\)"):
        load_into(nn.Linear(4, 2), {"weight": torch.zeros(2, 4)}, "model")
    with pytest.raises(StoreError, match=r"extra .*expected None"):
        load_into(
            nn.Linear(4, 2, bias=False), {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, "model"
        )


def test_an_optimizer_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = [nn.Linear(3, 2), nn.Linear(3, 2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [torch.optim.AdamW(net.parameters(), lr=0.1) for net in nets]

    def step(n: int) -> None:
        optimizers[n].zero_grad()
        nets[n](torch.ones(4, 3)).square().sum().backward()
        optimizers[n].step()

    step(0)
    step(0)
    nets[1].load_state_dict(nets[0].state_dict())
    save_tensors(tmp_path / "state.safetensors", optimizer_tensors(optimizers[0]), {})
    load_optimizer(optimizers[1], load_tensors(tmp_path / "state.safetensors")[0])
    step(0)
    step(1)
    assert torch.equal(nets[0].weight, nets[1].weight)


def test_the_same_weights_and_notes_are_the_same_bytes(tmp_path: Path) -> None:
    notes = dict.fromkeys(("network", "schema", "learner", "epoch"), "x")
    for n in range(20):
        save_tensors(tmp_path / f"{n}.safetensors", {"b": torch.ones(3), "a": torch.zeros(2)}, notes)
    assert len({(tmp_path / f"{n}.safetensors").read_bytes() for n in range(20)}) == 1
    assert load_tensors(tmp_path / "0.safetensors")[1] == notes
