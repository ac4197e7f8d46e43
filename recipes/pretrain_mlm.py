"""Pretrain a masked language model (an encoder) on text, evaluate it beside count baselines, and report.

accelerate launch recipes/pretrain_mlm.py
accelerate launch recipes/pretrain_mlm.py --data.files.train my.txt --model.preset bert-tiny
"""

from dataclasses import dataclass, field, replace

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import (
    DataConfig,
    MaskedLanguageModelEvaluationConfig,
    MaskingConfig,
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
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    training: PretrainingConfig = field(default_factory=PretrainingConfig)
    evaluation: MaskedLanguageModelEvaluationConfig = field(default_factory=MaskedLanguageModelEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from functools import partial

    from pipelines.data.collation import BlockCollator
    from pipelines.data.framing import frame_texts
    from pipelines.data.masking import Masking
    from pipelines.data.receipt import masked_receipt
    from pipelines.data.streaming.opening import open_text
    from pipelines.data.streaming.receipt import run_receipt
    from pipelines.data.tokenization import tokenize_old_domain
    from pipelines.data.tokenizer_training import MASK
    from pipelines.evaluation import masked_language_modeling as evaluation
    from pipelines.models.attention_check import check_encoder
    from pipelines.models.build import build_model
    from pipelines.proofs.running import prove
    from pipelines.publishing.publish import finish_and_publish, open_run
    from pipelines.training import steps
    from pipelines.training.arguments import training_arguments
    from pipelines.training.objectives import MaskedLanguageModeling
    from pipelines.training.saving import save_model

    if (folder := open_run(config, __file__)) is None:
        return

    state = steps.start_processes(config.run, config.training)
    block_size, words = config.data.block_size, config.masking.whole_word_mask
    with state.main_process_first():  # the others read its cache
        text = open_text(config.data, config.tokenizer, config.model, block_size, [MASK], words)
        text.receipt.update({split: masked_receipt(text.receipt[split]) for split in ("train", "validation")})
        old = tokenize_old_domain(config.old_domain, text.tokenizer, block_size)
    masking = Masking.of(config.masking, text.tokenizer)
    model = build_model("masked", config.model, text.tokenizer, block_size, text.new_tokens)
    inputs, head = check_encoder(model, config.data.isolate_documents, config.training.torch_compile)
    share = config.masking.mlm_probability if head else 1.0
    plan = steps.make_plan(config.training, text.train, text.validation, model, state, share)
    arguments = training_arguments(config.training, plan, folder.checkpoints, has_gpu=state.device.type != "cpu")
    checkpoint = steps.start_run(folder, config, plan, text.receipt, text.hashes, state)
    objective = MaskedLanguageModeling(plan.precision == "bf16", inputs, head)
    exact = partial(MaskedLanguageModeling.of, isolate_documents=config.data.isolate_documents)
    mask = masking.for_evaluation(config.evaluation.mlm_probability)
    batch_size = config.training.per_device_eval_batch_size
    scorer = evaluation.FixedMask(text.validation, mask, objective, batch_size, config.evaluation)
    prove(folder, config, state, model, text, BlockCollator(), exact, masking, scorer.evaluate_few)
    evaluations = {"": scorer.evaluate} | ({"old_": replace(scorer, documents=old).evaluate} if old else {})
    start = steps.score_start(model, config.model, evaluations)
    trainer = steps.train_model(
        config=config,
        arguments=arguments,
        plan=plan,
        folder=folder,
        checkpoint=checkpoint,
        model=model,
        text=text,
        collator=BlockCollator(),
        objective=objective,
        evaluate_model=scorer.evaluate,
        rows=masking,
    )
    metrics = trainer.evaluate() | steps.train_metrics(trainer, plan) | start
    metrics |= steps.score_old(trainer.model, evaluations)
    steps.assemble_model(trainer)
    if not state.is_main_process:
        return

    frame_texts(text.tokenizer)  # the encoder reads texts as it read documents
    save_model(trainer, text.tokenizer, folder)
    folder.write_json("receipt.json", run_receipt(text, trainer.blocks, trainer.account.targets))
    baseline, neighbours = scorer.baselines(trainer.blocks, plan.vocab_size)
    metrics |= scorer.pseudo_perplexity(trainer.model) | baseline
    folder.write_json("samples.json", scorer.samples(trainer.model, text.tokenizer, neighbours))
    finish_and_publish(folder, metrics, config)


if __name__ == "__main__":
    launch(main, Config, __file__)
