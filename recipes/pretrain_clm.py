"""Pretrain a causal language model on text, evaluate it beside an n-gram baseline, and report.

accelerate launch recipes/pretrain_clm.py
accelerate launch recipes/pretrain_clm.py --data.files.train my.txt --training.max_steps 1000
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import (
    DataConfig,
    LanguageModelEvaluationConfig,
    ModelConfig,
    OldDomainConfig,
    PretrainingConfig,
    ProofConfig,
    RunConfig,
    TokenizerConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    old_domain: OldDomainConfig = field(default_factory=OldDomainConfig)
    training: PretrainingConfig = field(default_factory=PretrainingConfig)
    evaluation: LanguageModelEvaluationConfig = field(default_factory=LanguageModelEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from functools import partial

    from pipelines.data.collation import BlockCollator
    from pipelines.data.streaming.opening import open_text
    from pipelines.data.streaming.receipt import run_receipt
    from pipelines.data.tokenization import tokenize_old_domain
    from pipelines.evaluation.language_modeling import evaluate_language_model, ngram_baseline, sample_continuations
    from pipelines.models.attention_check import check_attention
    from pipelines.models.build import build_model
    from pipelines.proofs.running import prove
    from pipelines.publishing.publish import finish_and_publish, open_run
    from pipelines.training import steps
    from pipelines.training.arguments import training_arguments
    from pipelines.training.objectives import CausalLanguageModeling
    from pipelines.training.saving import save_model

    if (folder := open_run(config, __file__)) is None:
        return

    state = steps.start_processes(config.run, config.training)
    with state.main_process_first():  # the others read its cache
        text = open_text(config.data, config.tokenizer, config.model, config.data.block_size)
        old = tokenize_old_domain(config.old_domain, text.tokenizer, config.data.block_size)
    model = build_model("causal", config.model, text.tokenizer, config.data.block_size, text.new_tokens)
    check_attention(model, config.data.isolate_documents)
    plan = steps.make_plan(config.training, text.train, text.validation, model, state)
    arguments = training_arguments(config.training, plan, folder.checkpoints, has_gpu=state.device.type != "cpu")
    checkpoint = steps.start_run(folder, config, plan, text.receipt, text.hashes, state)
    objective = CausalLanguageModeling(bf16=plan.precision == "bf16")
    collator = BlockCollator(config.data.isolate_documents)
    evaluate = partial(
        evaluate_language_model,
        documents=text.validation,
        objective=objective,
        collator=collator,
        batch_size=config.training.per_device_eval_batch_size,
        max_blocks=config.evaluation.max_blocks,
    )
    exact = CausalLanguageModeling(bf16=False)
    some = partial(evaluate, documents=text.validation.shortened(), max_blocks=4)
    prove(folder, config, state, model, text, collator, lambda copy: exact, evaluate=some)
    evaluations = {"": evaluate} | ({"old_": partial(evaluate, documents=old)} if old is not None else {})
    start = steps.score_start(model, config.model, evaluations)
    trainer = steps.train_model(
        config=config,
        arguments=arguments,
        plan=plan,
        folder=folder,
        checkpoint=checkpoint,
        model=model,
        text=text,
        collator=collator,
        objective=objective,
        evaluate_model=evaluate,
    )
    metrics = trainer.evaluate() | steps.train_metrics(trainer, plan) | start
    metrics |= steps.score_old(trainer.model, evaluations)
    steps.assemble_model(trainer)
    if not state.is_main_process:
        return

    save_model(trainer, text.tokenizer, folder)
    folder.write_json("receipt.json", run_receipt(text, trainer.blocks, trainer.account.targets))
    baseline, ngram = ngram_baseline(trainer.blocks, text.validation, plan.vocab_size, config.evaluation)
    metrics |= baseline
    samples = sample_continuations(
        trainer.model, text.tokenizer, text.validation, config.evaluation, config.training.seed, ngram
    )
    folder.write_json("samples.json", samples)
    finish_and_publish(folder, metrics, config)


if __name__ == "__main__":
    launch(main, Config, __file__)
