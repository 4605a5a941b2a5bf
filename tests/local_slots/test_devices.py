"""Which GPUs and how many cores a launch finds, without a command."""

import os

import pytest
from hydra.errors import CompactHydraException

from local_slots.devices import num_cores, slot_environments, threads_per_process, visible_gpus


def slots(num_slots, gpus_per_trial=1, slots_per_gpu=1, num_processes=1):
    return slot_environments(
        visible_gpus(),
        num_slots,
        gpus_per_trial=gpus_per_trial,
        slots_per_gpu=slots_per_gpu,
        num_processes=num_processes,
    )


@pytest.mark.parametrize("listed", ["NoDevFiles", "-1", "", "none", " ", "-1,0", "void"])
def test_a_list_that_names_no_gpu_gives_slots_on_the_processor(monkeypatch, listed):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_gpus() == []
    assert slots(2) == [{}, {}]


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 0 ", ["2", "0"]),
        ("0,1,-1,2", ["0", "1"]),
        ("3,NoDevFiles,4", ["3"]),
        ("GPU-8932f937,1", ["GPU-8932f937", "1"]),
        ("MIG-41b35f5c-0c8a-5a6e-8c2e-7f4e2e7b9a10", ["MIG-41b35f5c-0c8a-5a6e-8c2e-7f4e2e7b9a10"]),
        (
            "MIG-GPU-8932f937-d72c/7/0,MIG-GPU-8932f937-d72c/8/0",
            ["MIG-GPU-8932f937-d72c/7/0", "MIG-GPU-8932f937-d72c/8/0"],
        ),
    ],
)
def test_numbers_uuids_and_slices_name_gpus_up_to_the_first_that_does_not(monkeypatch, listed, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_gpus() == found
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(len(found))] == found


def test_cores_are_counted_without_the_call_that_only_linux_has(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert num_cores() == os.cpu_count()
    assert threads_per_process(1, 1, None) == os.cpu_count()


def test_trials_share_gpus_in_turn(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(None, slots_per_gpu=2)] == ["0", "1", "0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(3, slots_per_gpu=2)] == ["0", "1", "0"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(None, 2, slots_per_gpu=3)] == ["0,1"] * 3


def test_with_auto_there_is_one_slot_per_gpu_until_a_trial_has_told_its_memory(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(None, slots_per_gpu="auto")] == ["0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(8, slots_per_gpu="auto")] == ["0", "1"]
    assert len(slots(1, slots_per_gpu="auto")) == 1
    with pytest.raises(CompactHydraException, match="slots_per_gpu must be a number or auto, got many"):
        slots(1, slots_per_gpu="many")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert slots(3, slots_per_gpu="auto") == [{}] * 3


def test_slots_by_cores_are_for_trials_without_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)), raising=False)
    assert slots("cores") == [{}] * 5
    assert slots("cores", num_processes=2) == [{}] * 2
    assert slots("cores", num_processes=8) == [{}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert slots("cores", gpus_per_trial=0) == [{"CUDA_VISIBLE_DEVICES": ""}] * 5
    assert slots("cores") == [{"CUDA_VISIBLE_DEVICES": "0"}]
