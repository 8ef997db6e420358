"""demucs as a separator, on a tiny random model: the same contract as RNNoise's."""

from pathlib import Path

import numpy as np
import pytest

from audiomill.audio import Audio
from audiomill.engines.cores import CoreBudget
from audiomill.engines.model_store import ModelStore
from audiomill.engines.separation.demucs import NAME, Demucs
from audiomill.engines.separation.protocol import chunks, joined

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::ResourceWarning"),
]

torch = pytest.importorskip("torch", reason="needs the torch extra: make test-torch")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    from audiomill.engines.torchaudio_cpu import prepare

    prepare()
    from demucs.htdemucs import HTDemucs
    from demucs.states import get_state, save_with_checksum

    torch.manual_seed(0)
    model = HTDemucs(
        ["drums", "bass", "other", "vocals"], channels=8, depth=4, bottom_channels=64, dconv_comp=4, t_layers=1,
        t_heads=2, nfft=4096, segment=4,
    )  # fmt: skip
    arguments, keywords = model._init_args_kwargs
    package = {
        "klass": HTDemucs, "args": arguments, "kwargs": keywords, "state": get_state(model, None), "training_args": {},
    }  # fmt: skip
    folder: Path = tmp_path_factory.mktemp("weights")
    save_with_checksum(package, folder / "tiny.th")
    signature = next(folder.glob("tiny-*.th")).stem.split("-")[0]
    (folder / "bag.yaml").write_text(f"models: ['{signature}']\n")
    store = tmp_path_factory.mktemp("store")
    ModelStore(store).add(NAME, "bag", folder)
    engine = Demucs(model_store=store, budget=CoreBudget(tmp_path_factory.mktemp("c"), 2))
    engine.load("bag", "cpu")
    yield engine
    engine.close()


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2)])
def test_voice_and_background_are_the_source_whatever_the_packing(engine, rate, channels):
    sound = np.rint(np.random.default_rng(0).normal(0, 3000, (channels, 2 * rate))) / 32768
    source = Audio(sound.astype(np.float32), rate)
    cut = list(chunks(source, context_seconds=0.5, chunk_seconds=1.0))
    together, backwards = engine.separate(cut), engine.separate(cut[::-1])[::-1]
    for one, other in zip(together, backwards, strict=True):
        assert np.array_equal(one.voice.samples, other.voice.samples)
    whole = joined(source, [one.voice for one in together], chunk_seconds=1.0)
    assert np.array_equal(whole.voice.samples + whole.background.samples, source.samples)
    assert np.abs(whole.voice.samples).max() > 0
    assert engine.identity.model_sha256
