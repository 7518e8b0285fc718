"""Fine-tune a chat model by IFT in TRL: conversations, LoRA, packed rows, and a lambda that rises.

    pip install -e '.[trl]'
    python examples/fine_tune_with_trl.py --model Qwen/Qwen2.5-0.5B-Instruct --data talks.jsonl
    python examples/fine_tune_with_trl.py --model Qwen/Qwen2.5-0.5B-Instruct --data talks.jsonl --resume

Each line of the file is {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}, …]}.
"""

import tyro
from datasets import load_dataset
from peft import LoraConfig

from ift_gridworld.language.trl import IFTConfig, IFTSFTTrainer


def main(model: str, data: str, out: str = "runs/trl", steps: int = 200, resume: bool = False) -> None:
    """Train adapters of a model, evaluate them, and save them with their card."""
    parts = load_dataset("json", data_files=data, split="train").train_test_split(0.1, seed=0)
    args = IFTConfig(
        out,
        mixing=0.2,  # IFT's: λ at the last update
        mixing_schedule="linear",
        decay=0.95,
        assistant_only_loss=True,  # TRL's
        packing=True,
        learning_rate=2e-4,
        max_steps=steps,
        save_steps=max(1, steps // 2),
        report_to=[],
    )
    adapter = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = IFTSFTTrainer(model, args, train_dataset=parts["train"], eval_dataset=parts["test"], peft_config=adapter)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    print(trainer.evaluate())


if __name__ == "__main__":
    tyro.cli(main)
