"""Several networks of one kind as one: parameters stacked, one forward and one backward pass for all of them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from plait.errors import ConfigError, PlaitError, one_line

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Stack:
    """Networks of one kind whose parameters and buffers become views of stacked tensors, one row for each network.

    Each can be used, optimised and saved by itself as before; `losses` computes several of them at once and leaves
    every parameter its gradient. They must consist of operations that `torch.func.vmap` takes; an `nn.LSTM` is replaced
    by one that it does.

    Raises:
        ConfigError: a network holds an LSTM that cannot be stacked.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = list(networks)
        self.base = _stackable(copy.deepcopy(networks[0])).to("meta")
        self.parameters = {
            name: _stacked([one.get_parameter(name) for one in networks]) for name, _ in networks[0].named_parameters()
        }
        self.buffers = {
            name: _stacked([one.get_buffer(name) for one in networks]) for name, _ in networks[0].named_buffers()
        }

    def losses(
        self,
        which: Sequence[int],
        inputs: tuple[Mapping[str, Tensor], ...],
        targets: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """The loss of each network in `which` on a batch of its own, `(len(which),)`; gradients are left in them.

        `inputs` are the arguments of a network, dictionaries of tensors `(len(which), b, *shape)`, and `targets` is
        `(len(which), b)`.

        Raises:
            ConfigError: a network does something that `torch.func.vmap` does not take.
        """
        rows = None if list(which) == list(range(len(self.networks))) else torch.tensor(which)
        parameters, buffers = (
            {name: value if rows is None else value[rows] for name, value in stacked.items()}
            for stacked in (self.parameters, self.buffers)
        )

        def one(own: Any, moving: Any, given: Any, target: Tensor) -> Tensor:
            return loss(functional_call(self.base, (own, moving), given), target)

        self.base.train(self.networks[which[0]].training)
        for stacked in self.parameters.values():
            stacked.grad = None
        try:
            found: Tensor = vmap(one, randomness="different")(parameters, buffers, inputs, targets)
            found.sum().backward()  # type: ignore[no-untyped-call]
        except PlaitError:
            raise
        except Exception as error:  # whatever in them vmap does not take
            raise ConfigError(f"these networks cannot be trained folds together: {one_line(error)}") from error
        for name, value in buffers.items():
            if rows is not None:
                self.buffers[name][rows] = value
        for name, stacked in self.parameters.items():
            for row in which:
                gradient = None if stacked.grad is None else stacked.grad[row]
                self.networks[row].get_parameter(name).grad = gradient
        return found.detach()


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """The rows as one tensor, of which each becomes a view."""
    stacked = torch.stack([row.detach() for row in rows])
    for row, view in zip(rows, stacked, strict=True):
        row.data = view
    return stacked.requires_grad_(rows[0].requires_grad)


def _stackable(network: nn.Module) -> nn.Module:
    """`network` with every LSTM replaced by one that can be stacked."""
    if isinstance(network, nn.LSTM):
        return StackableLSTM(network)
    for name, part in network.named_children():
        setattr(network, name, _stackable(part))
    return network


class StackableLSTM(nn.Module):
    """An `nn.LSTM` with the same parameters whose recurrence is one for all stacked networks and both directions.

    Raises:
        ConfigError: it has projections or dropout, or no biases.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        if lstm.proj_size or lstm.dropout or not lstm.bias:
            raise ConfigError(
                "an LSTM with projections, with dropout or without biases cannot be trained folds together"
            )
        self.layers, self.batch_first = lstm.num_layers, lstm.batch_first
        self.directions = ("", "_reverse") if lstm.bidirectional else ("",)
        for name, parameter in lstm.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor, states: None = None) -> tuple[Tensor, None]:
        """The outputs, as `nn.LSTM` gives them; no states.

        Raises:
            ConfigError: it is given states to start from.
        """
        if states is not None:
            raise ConfigError("an LSTM that starts from given states cannot be trained folds together")
        x = x.transpose(0, 1) if self.batch_first else x
        for layer in range(self.layers):
            gates, recurrent = [], []
            for direction in self.directions:
                w, u, b, c = (getattr(self, f"{kind}_l{layer}{direction}") for kind in KINDS)
                moved = F.linear(x, w, b + c)
                gates.append(moved.flip(0) if direction else moved)
                recurrent.append(u)
            hidden = Recurrence.apply(torch.stack(gates, 1), torch.stack(recurrent))[0]
            x = torch.cat([hidden[:, n].flip(0) if d else hidden[:, n] for n, d in enumerate(self.directions)], -1)
        return (x.transpose(0, 1) if self.batch_first else x), None


class Recurrence(torch.autograd.Function):
    """The recurrence of `n` LSTMs at once.

    From what the inputs add to the gates, `(t, n, b, 4 u)` in torch's order i, f, g, o, and the recurrent weights
    `(n, 4 u, u)` come the hidden states `(t, n, b, u)`; cell states and open gates come along for the gradient.
    """

    @staticmethod
    def forward(gates: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states, cell states, gates."""
        (t, n, b, _), u = gates.shape, recurrent.shape[-1]
        opened, turned = gates.clone(memory_format=torch.contiguous_format), recurrent.mT.contiguous()
        hidden, cells = gates.new_empty(t, n, b, u), gates.new_empty(t, n, b, u)
        for step in range(t):
            now = opened[step]
            if step:
                now.baddbmm_(hidden[step - 1], turned)
            now[..., : 2 * u].sigmoid_()
            now[..., 2 * u : 3 * u].tanh_()
            now[..., 3 * u :].sigmoid_()
            i, f, g, o = torch.split(now, u, -1)
            torch.mul(i, g, out=cells[step])
            if step:
                cells[step].addcmul_(f, cells[step - 1])
            torch.tanh(cells[step], out=hidden[step]).mul_(o)
        return hidden, cells, opened

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what the gradient needs."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[1], *output)

    @staticmethod
    def backward(ctx: Any, grown: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        """The gradients of gates and recurrent weights."""
        recurrent, hidden, cells, opened = ctx.saved_tensors
        t, u = len(cells), cells.shape[-1]
        i, f, g, o = torch.split(opened, u, -1)
        thin = cells.tanh()
        before = torch.cat([torch.zeros_like(cells[:1]), cells[:-1]])
        # What a cell's gradient becomes at the gates i, f, g; what an output's becomes at o and in its cell.
        inward = torch.stack([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)], -2)
        outward, across = thin * o * (1 - o), o * (1 - thin * thin)
        gates = torch.empty_like(opened)
        cell = torch.zeros_like(cells[0])
        for step in reversed(range(t)):
            output = grown[step] if step == t - 1 else torch.baddbmm(grown[step], gates[step + 1], recurrent)
            if step < t - 1:
                cell *= f[step + 1]
            cell.addcmul_(output, across[step])
            torch.mul(inward[step], cell.unsqueeze(-2), out=gates[step][..., : 3 * u].view(*cell.shape[:2], 3, u))
            torch.mul(output, outward[step], out=gates[step][..., 3 * u :])
        later, earlier = gates[1:].transpose(0, 1).flatten(1, 2), hidden[:-1].transpose(0, 1).flatten(1, 2)
        return gates, torch.bmm(later.mT, earlier)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], gates: Tensor, recurrent: Tensor) -> tuple[Any, Any]:
        """Stacked networks are as many more LSTMs."""
        many = info.batch_size
        gates = (
            gates.movedim(in_dims[0], 1) if in_dims[0] is not None else gates.unsqueeze(1).expand(-1, many, -1, -1, -1)
        )
        recurrent = recurrent.movedim(in_dims[1], 0) if in_dims[1] is not None else recurrent.expand(many, -1, -1, -1)
        made = Recurrence.apply(gates.flatten(1, 2), recurrent.flatten(0, 1))
        return tuple(one.unflatten(1, (many, -1)) for one in made), (1, 1, 1)
