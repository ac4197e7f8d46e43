"""Muon for hidden matrices with AdamW for everything else, as one optimizer."""

from collections.abc import Iterable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """torch.optim.Muon (Jordan et al. 2024) on hidden weight matrices, AdamW on embeddings, heads, norms and biases.

    Muon's step is scaled by 0.2 sqrt(max(rows, columns)), which gives it the root mean square of an AdamW step
    (Liu et al. 2025, "Muon is Scalable for LLM Training", section 2.2), so that one learning rate and one weight decay
    serve both. Not for parameters that a distributed engine has flattened to one dimension (ZeRO).

    Args:
        matrices: 2-D parameters for Muon.
        groups: AdamW's parameter groups.
        lr: peak learning rate of both.
        weight_decay: of Muon's matrices.
        betas, eps: AdamW's.
    """

    def __init__(
        self,
        matrices: Iterable[torch.nn.Parameter],
        groups: list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        self.parts: dict[str, torch.optim.Optimizer] = {}
        matrices = list(matrices)
        if matrices:
            self.parts["muon"] = torch.optim.Muon(
                matrices,
                lr=lr,
                weight_decay=weight_decay,
                momentum=0.95,
                nesterov=True,
                adjust_lr_fn="match_rms_adamw",
            )
        if groups:  # none with LoRA, all of whose parameters are matrices
            self.parts["adamw"] = torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)
        super().__init__(self._groups(), {})
        # One list of the very dicts that the two work with: a scheduler that sets a group's lr sets theirs.
        self.param_groups = self._groups()

    def _groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts.values() for group in part.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of both; closures are not supported."""
        if closure is not None:
            raise ValueError("MuonWithAdamW takes no closure")
        for part in self.parts.values():
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of both."""
        for part in self.parts.values():
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Both states under `muon` and `adamw`."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores both states; loading replaces their group dicts, so the shared list is made anew."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self.param_groups = self._groups()


def muon_with_adamw(model: Any, args: Any, decay_names: Iterable[str]) -> MuonWithAdamW:
    """The optimizer for a transformers model.

    Args:
        model: its 2-D parameters outside embeddings and output head go to Muon.
        args: TrainingArguments: learning_rate, weight_decay, adam_beta1, adam_beta2, adam_epsilon.
        decay_names: names of the parameters that weight decay is for.
    """
    decay = set(decay_names)
    tables = {id(parameter) for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module
              for parameter in module.parameters()}  # fmt: skip
    tables |= {
        id(parameter)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters()
    }
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [parameter for _, parameter in named if parameter.ndim == 2 and id(parameter) not in tables]
    taken = {id(parameter) for parameter in matrices}
    rest = [(name, parameter) for name, parameter in named if id(parameter) not in taken]
    groups = [
        {"params": [p for name, p in rest if name in decay], "weight_decay": args.weight_decay},
        {"params": [p for name, p in rest if name not in decay], "weight_decay": 0.0},
    ]
    return MuonWithAdamW(
        matrices,
        [group for group in groups if group["params"]],
        lr=args.learning_rate,
        weight_decay=args.weight_decay,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
    )
