"""The progress bar of a run."""

import sys
from typing import Any

from tqdm import tqdm
from transformers.trainer_callback import TrainerCallback


class ProgressBar(TrainerCallback):
    """Steps, time left, loss and tokens per second: a bar on a terminal, a line per logging event elsewhere."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero and sys.stderr.isatty():
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc="training", unit="step", dynamic_ncols=True
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.bar is not None:
            self.bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs: dict[str, float] = kwargs["logs"]
        if not state.is_world_process_zero:
            return
        if "loss" in logs:
            speed = f"{logs['tokens_per_second']:,.0f} tokens/s"
            if self.bar is not None:
                self.bar.set_postfix_str(f"loss {logs['loss']:.3f}, {speed}")
                return
            left = (state.max_steps - state.global_step) * logs["train_seconds"] / max(state.global_step, 1)
            self._say(
                f"step {state.global_step:>6}/{state.max_steps}  loss {logs['loss']:.4f}  {speed}  {left:,.0f} s left"
            )
        elif "eval_loss" in logs:
            per_byte = f"  eval_bits_per_byte {logs['eval_bits_per_byte']:.4f}" if "eval_bits_per_byte" in logs else ""
            self._say(f"step {state.global_step:>6}/{state.max_steps}  eval_loss {logs['eval_loss']:.4f}{per_byte}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the bar, also when training was left by an error."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _say(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)
