"""coqui and demucs beside a CPU torch: their packages import, and a tiny random model of each really runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.torch,
    # The torch world warns of its own affairs while it is imported; ours are still errors elsewhere.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::ResourceWarning"),
]

torch = pytest.importorskip("torch", reason="needs the torch extra: make test-torch")


@pytest.fixture(scope="module", autouse=True)
def prepared():
    from audiomill.engines.torchaudio_cpu import prepare

    prepare()


def test_torchaudio_resamples_and_refuses_to_align():
    import torchaudio

    sound = torch.sin(torch.arange(16_000) / 16_000 * 2 * torch.pi * 440)[None]
    assert torchaudio.functional.resample(sound, 16_000, 8_000).shape == (1, 8_000)
    if torch.version.cuda is None:
        with pytest.raises(RuntimeError, match="compiled part"):
            torchaudio.functional.forced_align(torch.zeros(1, 4, 3), torch.ones(1, 2, dtype=torch.int32))


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA: nothing to stand in for")
def test_the_stand_in_is_needed():
    """When this fails torchaudio loads by itself, and torchaudio_cpu.py can go."""
    done = subprocess.run([sys.executable, "-c", "import torchaudio"], check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "OSError" in done.stderr


def test_coqui_vits_speaks(tmp_path: Path):
    from TTS.api import TTS
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits, VitsArgs

    torch.manual_seed(0)
    arguments = VitsArgs(
        init_discriminator=False, hidden_channels=32, hidden_channels_ffn_text_encoder=64, num_layers_text_encoder=1,
        num_heads_text_encoder=2, num_layers_flow=1, num_layers_posterior_encoder=1,
        upsample_initial_channel_decoder=64, use_sdp=False,
    )  # fmt: skip
    config = VitsConfig(model_args=arguments, text_cleaner="basic_cleaners", use_phonemes=False, run_eval=False)
    model = Vits.init_from_config(config)
    # init_from_config fills in the characters of the tokenizer; the file must say the same.
    model.config.save_json(str(tmp_path / "config.json"))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    speaker = TTS(model_path=str(tmp_path / "model.pth"), config_path=str(tmp_path / "config.json"), progress_bar=False)
    sound = np.asarray(speaker.tts("hello there"), dtype=np.float32)
    assert sound.size > 1000
    assert np.isfinite(sound).all()


def test_demucs_separates(tmp_path: Path):
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs
    from demucs.pretrained import get_model
    from demucs.states import get_state, save_with_checksum

    torch.manual_seed(0)
    sources = ["drums", "bass", "other", "vocals"]
    model = HTDemucs(
        sources, channels=8, depth=4, bottom_channels=64, dconv_comp=4, t_layers=1, t_heads=2, nfft=4096, segment=4
    )
    arguments, keywords = model._init_args_kwargs
    # As demucs.states.serialize_model writes it, which would need the training packages.
    package = {
        "klass": HTDemucs, "args": arguments, "kwargs": keywords, "state": get_state(model, None), "training_args": {},
    }  # fmt: skip
    save_with_checksum(package, tmp_path / "tiny.th")
    signature = next(tmp_path.glob("tiny-*.th")).stem.split("-")[0]
    (tmp_path / "bag.yaml").write_text(f"models: ['{signature}']\n")
    loaded = get_model("bag", repo=tmp_path)
    mixture = torch.randn(1, 2, 44_100)
    with torch.no_grad():
        parts = apply_model(loaded, mixture, device="cpu", shifts=0, num_workers=0)
    assert parts.shape == (1, len(sources), 2, 44_100)
    assert torch.isfinite(parts).all()
