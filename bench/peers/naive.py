"""The prototype with what most functions import too. For the cold start: `sam build` makes no .pyc of any of it."""

import aws_lambda_powertools.logging
import aws_lambda_powertools.metrics
import pydantic

from bench.peers import prototype


class Message(pydantic.BaseModel):
    """A model, because pydantic does its work when one is defined."""

    text: str = pydantic.Field(min_length=1)


logger = aws_lambda_powertools.logging.Logger(service="naive")
metrics = aws_lambda_powertools.metrics.Metrics(namespace="naive", service="naive")

if __name__ == "__main__":
    prototype.main()
