"""How torch computes in plait's jobs: as it comes, and products faster where that is as exact."""

import pytest
import torch

from plait.compute import machine
from plait.compute.machine import CARD_SHARE, device_here, jobs_at_once, settled, wide_products
from tests.state import changed, switches, unsettled

MATMUL = torch.backends.mkldnn.matmul


@pytest.fixture(autouse=True)
def as_torch_comes():
    before = MATMUL.fp32_precision
    yield
    MATMUL.fp32_precision = before
    machine._exact.cache_clear()


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (3, 28, 832, 490), (8, 1, 490, 832), (2, 8, 5000, 8), (1, 416, 64, 832)]
)
def test_products_within_are_float32_s(sizes):
    batch, m, k, n = sizes
    torch.manual_seed(0)
    a, b = torch.rand(batch, m, k), torch.rand(batch, n, k).mT
    exact = a.double() @ b.double()
    with wide_products():
        for found in (torch.bmm(a, b), torch.stack([x @ y for x, y in zip(a, b, strict=True)])):
            torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


def test_what_was_set_before_is_set_after_also_when_it_fails():
    with pytest.raises(ZeroDivisionError), wide_products():
        assert MATMUL.fp32_precision == ("bf16" if machine._exact() else "none")
        raise ZeroDivisionError
    assert MATMUL.fp32_precision == "none"


def test_a_precision_that_was_chosen_is_kept():
    MATMUL.fp32_precision = "tf32"
    with wide_products():
        assert MATMUL.fp32_precision == "tf32"


def test_where_a_trial_finds_products_rounded_nothing_changes(monkeypatch):
    multiply = torch.bmm

    def rounded(a, b):
        if MATMUL.fp32_precision == "bf16":
            return multiply(a.bfloat16(), b.bfloat16()).float()
        return multiply(a, b)

    monkeypatch.setattr(torch, "bmm", rounded)
    machine._exact.cache_clear()
    with wide_products():
        assert MATMUL.fp32_precision == "none"


def test_within_no_product_of_a_graphics_card_is_rounded_either():
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    parts = (cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [part.fp32_precision for part in parts]
    assert "tf32" in before  # as torch comes
    with settled():
        assert all(part.fp32_precision in ("none", "ieee") for part in parts)
        assert not cudnn.allow_tf32 and not cuda.matmul.allow_tf32  # which torch.export asks
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (True, False, True)
    assert [part.fp32_precision for part in parts] == before


@pytest.mark.parametrize(
    "above",
    [torch.backends, torch.backends.mkldnn, torch.backends.cudnn],
    ids=["all", "mkldnn", "cudnn"],
)
def test_nor_where_rounding_was_asked_for_of_all_parts_at_once(above):
    own = (torch.backends.mkldnn, torch.backends.cudnn)
    parts = (MATMUL, torch.backends.cuda.matmul, *(part for one in own for part in (one.conv, one.rnn)))
    before, above.fp32_precision = above.fp32_precision, "tf32"
    try:
        with settled():
            assert all(part.fp32_precision in ("none", "ieee") for part in parts)
            assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
        assert above.fp32_precision == "tf32"
    finally:
        above.fp32_precision = before


def test_what_is_computed_within_is_what_torch_computes_as_it_comes():
    def computed():
        torch.manual_seed(0)
        network, x = torch.nn.Conv2d(3, 8, 3), torch.rand(2, 3, 16, 16)
        grid = network(x).flatten(2)
        (grid @ grid.mT).sum().backward()
        return grid, grid @ grid.mT, network.weight.grad

    expected = computed()
    for alien in (unsettled, torch.inference_mode):
        with alien():
            before = switches()
            with settled():
                assert all(torch.equal(got, true) for got, true in zip(computed(), expected, strict=True))
            assert not changed(before, switches())
    with pytest.raises(ZeroDivisionError), unsettled():
        before = switches()
        try:
            with settled():
                raise ZeroDivisionError
        finally:
            assert not changed(before, switches())


@pytest.mark.parametrize(
    ("cores", "threads", "shares", "jobs"), [(16, 1, 34, 16), (16, 4, 34, 4), (16, 1, 5.9, 5), (2, 4, 0.1, 1)]
)
def test_a_card_has_room_for_no_more_jobs_than_its_free_memory(monkeypatch, cores, threads, shares, jobs):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    asked = []

    def free(device):
        asked.append(device)
        return int(shares * CARD_SHARE), 40 * CARD_SHARE

    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    assert jobs_at_once(threads, "cuda:1") == jobs and asked == ["cuda:1"]
    assert jobs_at_once(threads) == max(cores // threads, 1) and asked == ["cuda:1"]


def test_a_device_that_is_not_here_is_the_cpu():
    assert device_here("cpu") == device_here("cuda:999") == device_here("none such") == "cpu"
