"""Looking at a model while it trains: loss by stage, sampled answers, curves."""
