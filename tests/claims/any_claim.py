"""What tests of claims share: settings that must be valid, trials measured in their batches."""

from sparsejax.claims.claim import BatchedClaim


def measured(claim, config):
    """What all trials of a setting give, batch by batch, by trial."""
    found = {}
    for batch in claim.batches(config, claim.trials(config)):
        found |= {
            trial.name: values
            for trial, values in zip(batch, claim.measure_batch(config, batch), strict=True)
        }
    return found


def assert_settings_are_valid(claim, *further):
    """Defaults, presets, `further` ones, and the controls of all; trials have their own names."""
    for config in (claim.Config(), *claim.presets.values(), *further):
        claim.validate(config)
        claim.validate(claim.control(config))
        trials = claim.trials(config)
        names = [trial.name for trial in trials]
        assert len(set(names)) == len(names)
        if isinstance(claim, BatchedClaim):
            batches = claim.batches(config, trials)
            assert sorted(trial.name for batch in batches for trial in batch) == sorted(names)
