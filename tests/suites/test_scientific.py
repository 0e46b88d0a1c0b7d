"""Libraries that take a pool, a map, an executor or joblib come to the same through our workers as alone."""

import importlib
import warnings

import numpy
import pytest

from scaler import Client, SchedulerClusterCombo


@pytest.fixture(scope="module")
def client():
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address()) as made:
        yield made


def need(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"NOT PLAYED: {name}, which is not installed")


def bowl(x):
    return float(((x - 1) ** 2).sum())


def log_probability(x):
    return float(-0.5 * (x**2).sum())


def test_scipy_finds_the_same_minimum(client):
    optimize = need("scipy.optimize")
    options = {"bounds": [(-5, 5)] * 3, "seed": 1, "updating": "deferred", "maxiter": 20}
    serial = optimize.differential_evolution(bowl, **options)
    for workers in (client.map_each, client.pool().map):
        found = optimize.differential_evolution(bowl, workers=workers, **options)
        assert (found.x == serial.x).all()
        assert found.nfev == serial.nfev


def test_emcee_draws_the_same_chain(client):
    emcee = need("emcee")

    def run(**how):
        sampler = emcee.EnsembleSampler(16, 3, log_probability, **how)
        state = numpy.random.default_rng(0).normal(size=(16, 3))
        sampler.random_state = numpy.random.RandomState(1).get_state()
        sampler.run_mcmc(state, 30)
        return sampler.get_chain()

    assert (run() == run(pool=client.pool())).all()


def test_scikit_learn_searches_a_grid_and_scores_folds(client):
    joblib = need("joblib")
    importlib.import_module("scaler.joblib")
    datasets, selection, linear = (need(f"sklearn.{name}") for name in ("datasets", "model_selection", "linear_model"))
    x, y = datasets.make_classification(200, random_state=0)
    grid = {"C": [0.1, 1.0, 10.0]}
    serial = selection.GridSearchCV(linear.LogisticRegression(), grid, n_jobs=1).fit(x, y)
    search = selection.GridSearchCV(linear.LogisticRegression(), grid, n_jobs=-1)
    with joblib.parallel_config("scaler", client=client):
        search.fit(x, y)
        scores = selection.cross_val_score(linear.LogisticRegression(), x, y, n_jobs=-1)
    assert search.best_params_ == serial.best_params_
    assert (search.cv_results_["mean_test_score"] == serial.cv_results_["mean_test_score"]).all()
    assert (scores == selection.cross_val_score(linear.LogisticRegression(), x, y)).all()


def test_xarray_computes_through_dask(client):
    xarray = need("xarray")
    dask = need("dask")
    data = xarray.DataArray(numpy.arange(10_000.0).reshape(100, 100), dims=("a", "b")).chunk({"a": 10})
    with dask.config.set(scheduler=client):
        assert float((data * 2).mean(dim="a").sum().compute()) == float((data * 2).mean(dim="a").sum().values)
        assert (data.rolling(a=3).mean().compute() == data.compute().rolling(a=3).mean()).sum() == 98 * 100


def test_optuna_evaluates_trials_in_an_executor(client):
    optuna = need("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with client.executor() as executor, warnings.catch_warnings():
        for _ in range(3):
            trials = [study.ask() for _ in range(5)]
            points = [numpy.array([trial.suggest_float("x", -5, 5)]) for trial in trials]
            for trial, value in zip(trials, executor.map(bowl, points), strict=True):
                study.tell(trial, value)
    assert len(study.trials) == 15
    assert study.best_value == min(trial.value for trial in study.trials)
