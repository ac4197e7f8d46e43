"""The dropout rates of a transformers config, which every family names in its own way."""

from typing import TYPE_CHECKING

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Rates inside an encoder: of BERT and its kin, of DistilBERT and BART, of ModernBERT. Those of heads are left out.
RATES = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),
    *("dropout", "attention_dropout", "activation_dropout"),
    *("embedding_dropout", "mlp_dropout"),
)


def set_dropout(config: "PreTrainedConfig", rate: float) -> None:
    """Sets every dropout rate of an encoder; for a config of which no model has been built yet.

    Raises:
        ConfigError: the config has none of the known rates.
    """
    known = [name for name in RATES if isinstance(getattr(config, name, None), int | float)]
    if not known:
        raise ConfigError(
            f"contrastive.dropout is {rate:g}, but a {config.model_type} config has none of the dropout rates "
            f"{', '.join(RATES)}. Set its own in --model.config, and --contrastive.dropout null."
        )
    for name in known:
        setattr(config, name, rate)
