"""A baseline of chat and of any text written in answer to another: the answer to the most similar training prompt."""

from collections.abc import Sequence

from pipelines.baselines.features import word_vectorizer
from pipelines.errors import DataError

ROWS_AT_ONCE = 200


class NearestAnswer:
    """Answers as the training row does whose prompt has the highest cosine, by TF-IDF of words and word bigrams.

    Of equals, the first; so a prompt that shares nothing with any gets the first training answer.
    """

    def fit(self, prompts: Sequence[str], answers: Sequence[str]) -> "NearestAnswer":
        """Learns the weights of words, and keeps all rows.

        Raises:
            DataError: no prompt has a word, or there are not as many answers as prompts.
        """
        if len(prompts) != len(answers):
            raise DataError(
                f"Each prompt needs one answer; found {len(prompts):,} prompts and {len(answers):,} answers."
            )
        self.vectorizer = word_vectorizer(prompts, min_df=1)
        self.known = self.vectorizer.transform(prompts).T.tocsr()
        self.answers = list(answers)
        return self

    def predict(self, prompts: Sequence[str]) -> list[str]:
        """The answer to each prompt."""
        found: list[str] = []
        for start in range(0, len(prompts), ROWS_AT_ONCE):
            cosines = self.vectorizer.transform(prompts[start : start + ROWS_AT_ONCE]) @ self.known
            found += [self.answers[row] for row in cosines.toarray().round(6).argmax(axis=1)]
        return found
